import { describe, expect, it } from 'vitest'
import { allKinds, Endpoint, Network, type KindDefinition, type Pod } from '../../../api/index.ts'
import { silentLogger } from '../../../base/index.ts'
import {
  ControlFixture,
  createNetwork,
  createNode,
  createTier,
  eventually,
} from '../../../network/controllers/control-fixture.ts'
import { ObjectCache } from '../object-cache.ts'
import { kubernetesKinds, podEndpoints, PodIndices } from '../pod-controllers.ts'
import { SchedulingFacts } from './demand.ts'

function podOf(name: string): Pod {
  const annotations = { 'carbonado.io/endpoint0': '{"network":"blue","perfTier":"gold"}' }
  return { metadata: { namespace: 'default', name, uid: `uid-of-${name}`, annotations }, spec: { containers: [] } }
}

describe('the addresses that a network has left for a pod', () => {
  it('are those that it had before a binding failed, and none for another pod', async () => {
    await using control = await ControlFixture.start()
    const { store } = control
    await createNode(store, 'n1')
    await createTier(store, 'gold', '500M')
    const ranges = [{ start: '10.30.0.10', end: '10.30.0.10' }]
    await createNetwork(store, 'blue', { subnets: [{ cidr: '10.30.0.0/24', ranges }] })
    await using stack = new AsyncDisposableStack()
    const cache = new ObjectCache(store, [...(allKinds as unknown as KindDefinition[]), ...kubernetesKinds], silentLogger()) // prettier-ignore
    stack.defer(() => cache.stop())
    await cache.start()
    const indices = new PodIndices(cache)
    const facts = new SchedulingFacts(cache, indices)
    await podEndpoints(store, cache, indices).prepare(podOf('web'), 'n1')
    await eventually(() => cache.list(Endpoint)[0]?.status?.allocation)
    await eventually(() => cache.get(Network, { name: 'blue' })?.status?.usage?.used === 1 || undefined)
    const [own, other] = [facts.demandOf(podOf('web')), facts.demandOf(podOf('other'))]
    expect([own.addresses, other.addresses]).toEqual([{ blue: { left: 1, total: 1 } }, { blue: { left: 0, total: 1 } }])
  })
})
