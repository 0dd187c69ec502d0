import { describe, expect, test } from 'vitest'
import type { Node } from '../api/index.ts'
import { findNodeProblems, readDevice, readNodeFacts, type NodeFacts } from './node-check.ts'

const spec: Node['spec'] = { uplinks: { pods: { interface: 'eth0', rate: '10G', mtu: 1500 } }, maximumInterfaces: 1000 }

const options = ['BPF_SYSCALL', 'NET_CLS_BPF', 'NET_SCH_INGRESS', 'NET_SCH_HTB', 'VETH']
const good: NodeFacts = {
  factsOf: (name) => ({
    name, exists: true, index: 2, carrier: true, mtu: 1500, speed: 25e9, isHardware: true, lower: [],
  }), // prettier-ignore
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
    ['UplinkDown', { factsOf: (name) => ({ ...good.factsOf(name), carrier: false }) }],
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

  test('reads this machine', () => {
    expect(readDevice('lo')).toMatchObject({ exists: true, carrier: true, speed: 0, isHardware: false })
    expect(readDevice('not-there')).toMatchObject({ exists: false, carrier: false, mtu: 0, speed: 0 })
    expect(readNodeFacts('/proc').hasBpffs).toBe(false)
  })
})
