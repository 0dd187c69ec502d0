import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { allKinds, Endpoint, Pod, type KindDefinition } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { createNetwork, createNode, StoreFixture } from '../../network/controllers/control-fixture.ts'
import type { EmbeddedStore } from '../../store/index.ts'
import { ObjectCache } from './object-cache.ts'
import { kubernetesKinds, PodControllers, podEndpoints, PodIndices } from './pod-controllers.ts'
import { SchedulingFacts } from './scheduling/index.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A cluster where a control made the endpoint of the pod `web` and died before it had bound it; another leads now. */
async function afterDeathOfControl(stack: AsyncDisposableStack): Promise<EmbeddedStore> {
  const { store } = stack.use(new StoreFixture())
  await createNode(store, 'n1')
  await createNetwork(store)
  const annotations = { 'carbonado.io/endpoint0': '{"network":"blue"}' }
  const metadata = { namespace: 'default', name: 'web', annotations }
  const pod = await store.create(Pod, { metadata, spec: { containers: [] } })
  const logger = silentLogger()
  const cache = new ObjectCache(store, [...(allKinds as unknown as KindDefinition[]), ...kubernetesKinds], logger)
  stack.defer(() => cache.stop())
  await cache.start()
  const indices = new PodIndices(cache)
  await podEndpoints(store, cache, indices).prepare(pod, 'n1')
  const controllers = new PodControllers({ store, cache, logger }, indices, new SchedulingFacts(cache, indices))
  stack.defer(() => controllers.stop())
  controllers.start()
  return store
}

async function countOfEndpoints(store: EmbeddedStore): Promise<number> {
  return (await store.list(Endpoint)).items.length
}

describe('the endpoints of a pod that has no node', () => {
  it('go when it is not bound within the time of a binding', async () => {
    await using stack = new AsyncDisposableStack()
    const store = await afterDeathOfControl(stack)
    await vi.advanceTimersByTimeAsync(14_000)
    expect(await countOfEndpoints(store)).toBe(1)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await countOfEndpoints(store)).toBe(0)
  })

  it('go with it at once', async () => {
    await using stack = new AsyncDisposableStack()
    const store = await afterDeathOfControl(stack)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await countOfEndpoints(store)).toBe(1)
    await store.delete(Pod, { namespace: 'default', name: 'web' })
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await countOfEndpoints(store)).toBe(0)
  })
})
