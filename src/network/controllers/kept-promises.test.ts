import { describe, expect, it } from 'vitest'
import { Endpoint, Event, Node } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { startNetworkControllers } from '../control.ts'
import {
  ControlFixture,
  createEndpoint,
  createNetwork,
  createNode,
  createTier,
  eventually,
  StoreFixture,
} from './control-fixture.ts'

describe('an attached endpoint whose tier changes while the link rate of its node is unknown', () => {
  async function attached(): Promise<ControlFixture> {
    const control = await ControlFixture.start()
    const { store } = control
    await createNode(store, 'n3', { uplinks: { pods: { interface: 'eth0' } } })
    await reportLinkRate(store, 1e9)
    for (const [name, floor] of Object.entries({ silver: '100M', gold: '500M', platinum: '600M' })) {
      await createTier(store, name, floor)
    }
    await createNetwork(store)
    await createEndpoint(store, 'a', { nodeName: 'n3', perfTierName: 'gold' })
    await control.allocated('a')
    await reportLinkRate(store, 0)
    return control
  }

  it('keeps its promise, which nobody else gets when the rate is known again', async () => {
    await using control = await attached()
    const { store } = control
    const before = await control.allocated('a')
    await store.patch(Endpoint, { namespace: 'default', name: 'a' }, { spec: { perfTierName: 'platinum' } })
    expect(await control.allocated('a')).toEqual({ ...before, generation: 2 })
    await eventually(async () => {
      const { items } = await store.list(Event, { fieldSelector: 'reason=ReshapeRefused' })
      return items[0]?.note?.includes('the link rate of node n3 is not known yet') || undefined
    })
    await reportLinkRate(store, 1e9)
    await createEndpoint(store, 'b', { nodeName: 'n3', perfTierName: 'gold' })
    expect((await control.refused('b')).message).toContain('has 440 Mbit/s of 940 Mbit/s left')
  })

  it('gets a lower floor', async () => {
    await using control = await attached()
    const { store } = control
    await store.patch(Endpoint, { namespace: 'default', name: 'a' }, { spec: { perfTierName: 'silver' } })
    expect(await control.allocated('a')).toMatchObject({ perfTierName: 'silver', bandwidthFloor: 100e6 })
  })
})

/** Admission on a cluster reads a copy: what an endpoint names may go at the same moment. */
it.each([
  ['its tier is gone', 'gone'],
  ['its node is gone', 'silver'],
])('an attached endpoint keeps its promise when %s', async (_what, perfTierName) => {
  const stores = new StoreFixture(() => {})
  const { store } = stores
  await using control = new ControlFixture(stores, await startNetworkControllers(store, { logger: silentLogger() }))
  await createNode(store)
  await createTier(store, 'gold', '500M')
  await createTier(store, 'silver', '100M')
  await createNetwork(store)
  await createEndpoint(store, 'a', { perfTierName: 'gold' })
  const before = await control.allocated('a')
  if (perfTierName !== 'gone') await store.delete(Node, { name: 'n1' })
  await store.patch(Endpoint, { namespace: 'default', name: 'a' }, { spec: { perfTierName } })
  expect(await control.allocated('a')).toEqual({ ...before, generation: 2 })
  if (perfTierName !== 'gone') await createNode(store)
  await createEndpoint(store, 'b', { perfTierName: 'gold' })
  expect((await control.refused('b')).message).toContain('has 440 Mbit/s of 940 Mbit/s left')
})

/** As the agent of node n3 does, whose uplink has a carrier; 0: it does not say how fast it is. */
async function reportLinkRate(store: ResourceStore, linkRate: number): Promise<void> {
  const agent = {
    address: 'n3:7443',
    heartbeat: '2026-01-01T00:00:00Z',
    version: '0',
    linkRate,
    mtu: 1500,
    carrier: true,
    problems: [],
  }
  await store.patch(Node, { name: 'n3' }, { status: { agent } }, { subresource: 'status' })
}
