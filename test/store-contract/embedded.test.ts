import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedStore } from '../../src/store/index.ts'
import { storeContract, type StoreUnderTest } from './contract.ts'

storeContract('embedded', async (): Promise<StoreUnderTest> => {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-store-'))
  const store = new EmbeddedStore({ file: join(folder, 'store.db') })
  return {
    store,
    namespace: 'default',
    close: async () => {
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})
