import { describe, expect, it } from 'vitest'
import { Endpoint, Event, Node } from '../../api/index.ts'
import { ControlFixture, createEndpoint, createNetwork, createNode, createTier, eventually } from './control-fixture.ts'

const agent = { address: 'n1:7443', version: '0', linkRate: 1e9, mtu: 1500, carrier: true, problems: [] }

/** The agent of n1 says what its link gives now. */
async function report(control: ControlFixture, found: { linkRate: number; carrier?: boolean }): Promise<void> {
  const patch = { status: { agent: { ...agent, ...found, heartbeat: new Date().toISOString() } } }
  await control.store.patch(Node, { name: 'n1' }, patch, { subresource: 'status' })
}

type Promises = NonNullable<NonNullable<Node['status']>['promises']>

async function promisesBecome(control: ControlFixture, reason: Promises['reason'], total?: number): Promise<Promises> {
  return eventually(async () => {
    const { status } = await control.store.get(Node, { name: 'n1' })
    if (total !== undefined && status?.capacity?.bandwidth.total !== total) return undefined
    return status?.promises?.reason === reason ? status.promises : undefined
  })
}

/** `REASON OBJECT: NOTE` of each event about promises, in the order in which they were made. */
async function told(control: ControlFixture): Promise<string[]> {
  const { items } = await control.store.list(Event)
  return items
    .filter(({ reason }) => reason.startsWith('Promise'))
    .sort((one, other) => one.eventTime.localeCompare(other.eventTime))
    .map(({ reason, regarding, note }) => `${reason} ${regarding.name}: ${note}`)
}

/** Gold (400M) as `a` and `b`, best effort as `c`, on node n1 with a link of 1 Gbit/s. */
async function start(): Promise<ControlFixture> {
  const control = await ControlFixture.start()
  await createNode(control.store)
  await createNetwork(control.store)
  await createTier(control.store, 'gold', '400M')
  await report(control, { linkRate: 1e9 })
  for (const name of ['a', 'b']) await createEndpoint(control.store, name, { perfTierName: 'gold' })
  await createEndpoint(control.store, 'c')
  for (const name of ['a', 'b', 'c']) await control.allocated(name)
  await promisesBecome(control, 'AllFit')
  return control
}

describe('a link that becomes slower than its promises', () => {
  it('is told to the node and to every endpoint with a floor, and so is its recovery', async () => {
    await using control = await start()
    expect(await told(control)).toEqual([])
    await report(control, { linkRate: 500e6 })
    expect(await promisesBecome(control, 'LinkTooSlow')).toMatchObject({ state: false })
    const node =
      'PromiseAtRisk n1: 800 Mbit/s of floors were promised and the uplink eth0 now has 470 Mbit/s for them: 58 % of each floor is kept.'
    const risk = (name: string): string =>
      `PromiseAtRisk ${name}: The uplink eth0 of node n1 is slower than the floors on it: 235 Mbit/s of the floor of 400 Mbit/s are kept.`
    expect((await told(control)).sort()).toEqual([risk('a'), risk('b'), node].sort())
    await report(control, { linkRate: 1e9 })
    expect(await promisesBecome(control, 'AllFit')).toMatchObject({ state: true })
    const kept = (await told(control)).filter((line) => line.startsWith('PromiseKept'))
    expect(kept.map((line) => line.split(':')[0]).sort()).toEqual(['PromiseKept a', 'PromiseKept b', 'PromiseKept n1'])
    expect(kept).toContainEqual('PromiseKept n1: The uplink eth0 carries all floors: 800 Mbit/s of 940 Mbit/s.')
  })

  it('takes no new floor, with the numbers, keeps what is there, and still takes best effort and lower floors', async () => {
    await using control = await start()
    await report(control, { linkRate: 500e6 })
    await promisesBecome(control, 'LinkTooSlow')
    await createEndpoint(control.store, 'd', { perfTierName: 'gold' })
    expect((await control.refused('d')).message).toContain('needs 400 Mbit/s, node n1 has 0 bit/s of 470 Mbit/s left')
    await createEndpoint(control.store, 'e')
    await control.allocated('e')
    expect((await control.allocated('a')).bandwidthFloor).toBe(400e6)
    await control.store.patch(Endpoint, { namespace: 'default', name: 'a' }, { metadata: { labels: { looked: 'at' } } })
    expect((await control.allocated('a')).bandwidthFloor).toBe(400e6)
  })

  it('is told again when it becomes slower still, and not twice by a control that was restarted', async () => {
    await using control = await start()
    await report(control, { linkRate: 500e6 })
    await promisesBecome(control, 'LinkTooSlow')
    await control.restart()
    await report(control, { linkRate: 100e6 })
    await promisesBecome(control, 'LinkTooSlow', 94e6)
    const ofNode = (await told(control)).filter((line) => line.startsWith('PromiseAtRisk n1'))
    expect(ofNode.map((line) => /now has (.*) for them/.exec(line)?.[1])).toEqual(['470 Mbit/s', '94 Mbit/s'])
  })
})

describe('a link without carrier', () => {
  it('makes the node not ready and refuses floors by name, while everything there stays', async () => {
    await using control = await start()
    await report(control, { linkRate: 0, carrier: false })
    await promisesBecome(control, 'UplinkDown')
    const ready = await eventually(async () => {
      const { status } = await control.store.get(Node, { name: 'n1' })
      return status?.ready?.state === false ? status.ready : undefined
    })
    expect(ready).toMatchObject({ reason: 'UplinkDown', message: expect.stringContaining('eth0 has no carrier') })
    await createEndpoint(control.store, 'd', { perfTierName: 'gold' })
    const refusal = await control.refused('d')
    expect(refusal).toMatchObject({ code: 'Unavailable' })
    expect(refusal.message).toBe('the uplink eth0 of node n1 has no carrier, so no bandwidth can be promised there')
    await createEndpoint(control.store, 'e')
    await control.allocated('e')
    expect((await control.allocated('a')).bandwidthFloor).toBe(400e6)
    await report(control, { linkRate: 1e9 })
    await promisesBecome(control, 'AllFit')
    await eventually(async () => (await control.store.get(Node, { name: 'n1' })).status?.ready?.state || undefined)
  })
})

describe('a plane that shares the link of containers', () => {
  it('has what it declares before any floor', async () => {
    await using control = await ControlFixture.start()
    const uplinks = { pods: { interface: 'eth0', rate: '1G' }, storage: { interface: 'eth0', vlan: 30, rate: '500M' } }
    await createNode(control.store, 'n1', { uplinks })
    await createNetwork(control.store)
    await createTier(control.store, 'gold', '500M')
    await createEndpoint(control.store, 'a', { perfTierName: 'gold' })
    expect((await control.refused('a')).message).toContain(
      'needs 500 Mbit/s, node n1 has 440 Mbit/s of 440 Mbit/s left',
    )
  })
})
