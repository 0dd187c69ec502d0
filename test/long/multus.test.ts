import './own-lab.ts'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, nodePlaces, takeLabDown, type CniRequest, type Host } from '../../lab/index.ts'
import { exec } from '../../src/base/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { Sandbox } from '../support/sandboxes.ts'

/** Plugins of others, beside which ours must get along. */
const standardPlugins = '/usr/lib/cni'
const multus = join(import.meta.dirname, '../../build/go/multus/multus')

let lab: Lab
let right: Host

beforeAll(async () => {
  await exec([join(import.meta.dirname, '../../scripts/go-tools.sh'), 'multus'], { deadline: 900_000 })
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await lab.dctl(['network', 'create', 'left', '-s', '10.51.0.0/24', '-v', '151'])
  await lab.dctl(['network', 'create', 'right', '-s', '10.52.0.0/24', '-g', '10.52.0.1', '-v', '152'])
  await lab.dctl(['perf-tier', 'create', 'gold', '-b', '100M'])
  right = await lab.addHost({ name: 'right', vlan: 152, address: '10.52.0.1/24' })
}, 1_000_000)
afterAll(() => lab.down())

/** A call of Multus, the real one, as a runtime makes it; it calls the delegates, the first for eth0. */
function throughMultus(...delegates: object[]): CniRequest {
  const named = delegates.map((delegate, index) => ({ name: `delegate${index}`, cniVersion: '1.0.0', ...delegate }))
  return {
    plugin: multus,
    environment: { CNI_PATH: `${nodePlaces.cniPlugins}:${standardPlugins}` },
    rawInput: JSON.stringify({ name: 'multus', type: 'multus', cniVersion: '1.0.0', delegates: named }),
  }
}

const ours = (network: string, more: object = {}): object => ({ type: 'carbonado-cni', network, ...more })
const bridge = {
  type: 'bridge',
  bridge: 'cb-multus',
  isDefaultGateway: true,
  ipam: { type: 'host-local', subnet: '10.99.0.0/24' },
}

const pings = (host: Host, address: string): Promise<boolean> =>
  host.exec(['ping', '-q', '-c', '2', '-i', '0.1', '-W', '1', address]).then(() => true, () => false) // prettier-ignore

async function addressOf(sandbox: Sandbox, device: string): Promise<string> {
  const { stdout } = await sandbox.exec(['ip', '-4', '-o', 'address', 'show', 'dev', device])
  return /inet ([0-9.]+)/.exec(stdout)![1]!
}

describe('Multus with our plugin as a delegate', () => {
  it.each([
    ['beside a bridge as the cluster network', bridge, ['net1']],
    ['for the cluster network and another one', ours('left'), ['eth0', 'net1']],
  ])('%s: ADD, CHECK, traffic, DEL', async (_what, first, interfaceNames) => {
    const sandbox = await Sandbox.make(lab, 'n1', { request: { annotations: undefined } })
    const call = throughMultus(first, ours('right', { perfTier: 'gold' }))
    expect(await sandbox.add(call)).toMatchObject({ ok: true })
    expect(sandbox.result!.ips, 'the result that the runtime sees').toHaveLength(1)
    const address = await addressOf(sandbox, 'net1')
    expect(await pings(right, address), 'answers where it is asked').toBe(true)
    expect((await sandbox.exec(['ping', '-q', '-c', '1', '-W', '1', '-I', 'net1', '10.52.0.1'])).stdout).toContain(' 0% ')
    await expectNothingElse(lab, [{ node: 'n1', id: sandbox.id, interfaceNames }])
    const { stdout } = await lab.dctl(['endpoint', 'list', '-o', 'wide'])
    expect(stdout).toMatch(new RegExp(`${address} .* net1 +- +Attached +gold`))
    expect(await lab.cni('n1', 'CHECK', { ...sandbox.request, ...call })).toMatchObject({ ok: true })
    await lab.killAgent('n1')
    await lab.startAgent('n1')
    expect(await pings(right, address), 'after the agent was killed').toBe(true)
    expect(await lab.cni('n1', 'DEL', { ...sandbox.request, ...call })).toMatchObject({ ok: true })
    expect(await lab.cni('n1', 'DEL', { ...sandbox.request, ...call }), 'again').toMatchObject({ ok: true })
    await lab.removeNetns('n1', sandbox.id)
    await expectNothingElse(lab, [])
  }, 60_000) // prettier-ignore

  it('takes back what it has attached when a later delegate is refused', async () => {
    const sandbox = await Sandbox.make(lab, 'n1', { request: { annotations: undefined } })
    const outcome = await sandbox.add(throughMultus(ours('left'), ours('nowhere')))
    expect(outcome).toMatchObject({ ok: false })
    expect(JSON.stringify(outcome)).toContain('nowhere')
    await lab.cni('n1', 'DEL', { ...sandbox.request, ...throughMultus(ours('left'), ours('nowhere')) })
    await lab.removeNetns('n1', sandbox.id)
    await expectNothingElse(lab, [])
  }, 60_000)
})
