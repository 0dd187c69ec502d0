import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedStore } from '../../src/store/index.ts'
import { storeContract, type StoreUnderTest } from './contract.ts'

function openIn(options: { syncEveryWrite: boolean }): () => Promise<StoreUnderTest> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'carbonado-store-'))
    const store = new EmbeddedStore({ file: join(folder, 'store.db'), ...options })
    return {
      store,
      namespace: 'default',
      close: async () => {
        await store.close()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  }
}

storeContract('embedded', openIn({ syncEveryWrite: false }))
storeContract('embedded, every write synced', openIn({ syncEveryWrite: true }))
