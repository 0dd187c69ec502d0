import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PerfTier } from '../../src/api/index.ts'
import { createInformer, RestStore } from '../../src/store/index.ts'
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

test('an update of what an informer holds takes nothing from those who manage other fields', async () => {
  const { server, caFile, token } = apiserver
  const store = new RestStore({ server, caFile, token })
  const name = 'managed-by-two'
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-managed-'))
  const apply = (spec: object): string => {
    const file = join(folder, 'tier.json')
    writeFileSync(file, JSON.stringify({ apiVersion: 'carbonado.io/v1alpha1', kind: 'PerfTier', metadata: { name }, spec })) // prettier-ignore
    return apiserver.kubectl('apply', '--server-side', '--field-manager=somebody', '-f', file)
  }
  apply({ storageIops: 7, networkBandwidth: '100M' })
  const informer = createInformer(store, PerfTier, { selection: { fieldSelector: `metadata.name=${name}` } })
  try {
    await informer.start()
    const held = informer.get({ name })!
    expect(held.metadata).not.toHaveProperty('managedFields')
    await store.update(PerfTier, { ...held, metadata: { ...held.metadata, labels: { by: 'us' } } })
    // what somebody applied without it any more goes only if the server still knows that it was theirs
    apply({ networkBandwidth: '100M' })
    const { metadata, spec } = await store.get(PerfTier, { name })
    expect({ labels: metadata.labels, spec }).toEqual({ labels: { by: 'us' }, spec: { networkBandwidth: '100M' } })
  } finally {
    await informer.stop()
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  }
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
