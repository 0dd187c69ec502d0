import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Endpoint, type KubeObject } from '../../api/index.ts'
import { Unavailable } from '../../base/index.ts'
import type { CreateOptions, ResourceStore } from '../../store/index.ts'
import { allocateByCounting } from './fake-control.ts'
import { addRequest, eventually, TestNode } from './test-node.ts'

/** A store that answers a creation when the endpoint is decided about, as control does, and whose watch is silent. */
function decidingStore(
  store: ResourceStore,
  isSilent: () => boolean,
  flush: () => Promise<void> = async () => {},
): ResourceStore {
  const decided = async (kind: never, object: KubeObject): Promise<Endpoint> => {
    for (;;) {
      const now = (await store.get(kind, object.metadata)) as Endpoint
      if (now.status?.allocation) return now
      await delay(1)
    }
  }
  const create = async (kind: never, object: KubeObject, options?: CreateOptions<KubeObject>): Promise<KubeObject> => {
    await store.create(kind, object)
    const now = await decided(kind, object)
    options?.onEarlyAnswer?.(structuredClone(now))
    await flush()
    return now
  }
  async function* watch(...[kind, options]: Parameters<ResourceStore['watch']>): AsyncGenerator {
    for await (const event of store.watch(kind, options)) {
      while (isSilent() && !options?.signal?.aborted) await delay(1)
      yield event
    }
  }
  return new Proxy(store, {
    get(target, property) {
      if (property === 'create') return create
      if (property === 'watch') return watch
      const value = Reflect.get(target, property) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test('an ADD takes the decision from the answer, and an endpoint whose news is late is not taken for lost', async () => {
  let isSilent = true
  await using node = await TestNode.create(undefined, { store: (store) => decidingStore(store, () => isSilent) })
  const result = await node.attachments.add(addRequest())
  expect(result.addresses).toEqual([{ address: '10.0.0.2', prefixLength: 16, gateway: '10.0.0.1' }])
  await delay(20)
  expect(node.attachments.lostEndpoints()).toEqual([])
  isSilent = false
  await eventually(async () => (await node.endpoints())[0]?.status?.attachment !== undefined)
})

test('a refusal in the answer is what ADD says, and leaves nothing', async () => {
  const refuse = () => ({ state: 'Refused' as const, code: 'Exhausted', message: 'no free address' })
  await using node = await TestNode.create(refuse, { store: (store) => decidingStore(store, () => false) })
  await expect(node.attachments.add(addRequest())).rejects.toMatchObject({ code: 'Exhausted' })
  await eventually(async () => (await node.endpoints()).length === 0)
  expect(node.kernel.attachments.size).toBe(0)
})

test('a DEL that comes before the news of the ADD takes everything back', async () => {
  let isSilent = true
  const store = (inner: ResourceStore): ResourceStore => decidingStore(inner, () => isSilent)
  await using node = await TestNode.create(allocateByCounting(), { store })
  await node.attachments.add(addRequest())
  await node.attachments.remove({ cniNetwork: 'cluster', containerId: 'c1', interfaceName: 'eth0' })
  isSilent = false
  await eventually(async () => (await node.endpoints()).length === 0)
  expect(node.kernel.attachments.size).toBe(0)
  expect(node.attachments.attached()).toEqual([])
})

test('what was told early is attached only when it is certain, and taken back when it is not', async () => {
  const disk = Promise.withResolvers<void>()
  const store = (inner: ResourceStore): ResourceStore => decidingStore(inner, () => false, () => disk.promise)
  await using node = await TestNode.create(undefined, { store })
  const adding = node.attachments.add(addRequest())
  adding.catch(() => {})
  await eventually(() => node.journal.all().some(({ state }) => state === 'attaching'))
  await delay(20)
  expect(node.kernel.attachments.size).toBe(0)
  disk.reject(new Unavailable('the disk is broken'))
  await expect(adding).rejects.toMatchObject({ code: 'Unavailable' })
  await eventually(async () => (await node.endpoints()).length === 0)
  expect(node.kernel.attachments.size).toBe(0)
  await eventually(() => node.journal.all().length === 0)
}) // prettier-ignore
