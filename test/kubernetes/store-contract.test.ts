import { afterAll, beforeAll } from 'vitest'
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
