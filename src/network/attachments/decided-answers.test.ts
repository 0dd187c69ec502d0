import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Endpoint, type KubeObject } from '../../api/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { allocateByCounting } from './fake-control.ts'
import { addRequest, eventually, TestNode } from './test-node.ts'

/** A store that answers a creation when the endpoint is decided about, as control does, and whose watch is silent. */
function decidingStore(store: ResourceStore, isSilent: () => boolean): ResourceStore {
  const create = async (kind: never, object: KubeObject): Promise<KubeObject> => {
    await store.create(kind, object)
    for (;;) {
      const now = (await store.get(kind, object.metadata)) as Endpoint
      if (now.status?.allocation) return now
      await delay(1)
    }
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
