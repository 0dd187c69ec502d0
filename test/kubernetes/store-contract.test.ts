import { afterAll, beforeAll, expect, test } from 'vitest'
import { PerfTier } from '../../src/api/index.ts'
import { RestStore } from '../../src/store/index.ts'
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts'
import { storeContract } from '../store-contract/contract.ts'

let apiserver: KubeApiserver

beforeAll(async () => {
  apiserver = await startKubeApiserver()
})
afterAll(() => apiserver?.close())

storeContract('kube-apiserver with our CustomResourceDefinitions', async () => {
  const { server, caFile, token } = apiserver
  const store = new RestStore({ server, caFile, token })
  return { store, namespace: 'default', close: () => store.close() }
})

/** Whole answers come in one piece then, head, body and end, before whoever asked gets its turn to read. */
test('two thousand writes, many at a time over one connection, are all answered', async () => {
  const { server, caFile, token } = apiserver
  const store = new RestStore({ server, caFile, token, timeout: 30_000 })
  try {
    const writer = async (_: unknown, index: number): Promise<void> => {
      for (let count = 0; count < 42; count += 1) {
        await store.create(PerfTier, { metadata: { name: `many-${index}-${count}` }, spec: {} })
      }
    }
    await Promise.all(Array.from({ length: 48 }, writer))
    expect((await store.list(PerfTier)).items.filter(({ metadata }) => metadata.name.startsWith('many-'))).toHaveLength(
      2016,
    )
  } finally {
    await store.close()
  }
})
