import { describe, expect, test } from 'vitest'
import type { Node } from '../api/index.ts'
import { findNodeProblems, linkRateOf, readNodeFacts, readUplinkFacts, type NodeFacts } from './node-check.ts'

const spec: Node['spec'] = { uplinks: { pods: { interface: 'eth0', rate: '10G', mtu: 1500 } }, maximumInterfaces: 1000 }

const options = ['BPF_SYSCALL', 'NET_CLS_BPF', 'NET_SCH_INGRESS', 'NET_SCH_HTB', 'VETH']
const good: NodeFacts = {
  uplink: { exists: true, carrier: true, mtu: 1500, speed: 25e9 },
  hasTypeInformation: true,
  hasBpffs: true,
  kernelConfiguration: options.map((option) => `CONFIG_${option}=${option === 'VETH' ? 'm' : 'y'}\n`).join(''),
}

describe('the node check', () => {
  test('finds nothing on a good node', () => {
    expect(findNodeProblems(spec, good)).toEqual([])
    expect(findNodeProblems(spec, { ...good, kernelConfiguration: undefined })).toEqual([])
  })

  test.each<[string, Partial<NodeFacts>]>([
    ['UplinkMissing', { uplink: { exists: false, carrier: false, mtu: 0, speed: 0 } }],
    ['UplinkDown', { uplink: { ...good.uplink, carrier: false } }],
    ['UplinkMtuTooSmall', { uplink: { ...good.uplink, mtu: 1400 } }],
    ['KernelWithoutTypeInformation', { hasTypeInformation: false }],
    ['BpffsMissing', { hasBpffs: false }],
    [
      'KernelFeatureMissing',
      { kernelConfiguration: good.kernelConfiguration!.replace(/.*NET_SCH_HTB.*/, '# not set') },
    ],
  ])('finds %s, once', (reason, facts) => {
    const problems = findNodeProblems(spec, { ...good, ...facts })
    expect(problems.map((problem) => problem.reason)).toEqual([reason])
    expect(problems[0]!.remedy).not.toBe('')
  })

  test('wants a rate where the kernel knows none', () => {
    const unknown = { ...spec, uplinks: { pods: { interface: 'eth0' } } }
    const uplink = { ...good.uplink, speed: 0 }
    expect(findNodeProblems(unknown, { ...good, uplink })).toMatchObject([{ reason: 'UplinkRateUnknown' }])
    expect(linkRateOf(unknown, uplink)).toBe(0)
    expect(linkRateOf(unknown, good.uplink)).toBe(25e9)
    expect(linkRateOf(spec, good.uplink)).toBe(10e9)
  })

  test('reads this machine', () => {
    expect(readUplinkFacts('lo')).toMatchObject({ exists: true, carrier: true, speed: 0 })
    expect(readUplinkFacts('not-there')).toEqual({ exists: false, carrier: false, mtu: 0, speed: 0 })
    expect(readNodeFacts('lo', '/proc').hasBpffs).toBe(false)
  })
})
