import { silentLogger } from '../../src/base/index.ts'
import { startControl } from '../../src/control/control.ts'
import { RestStore } from '../../src/store/index.ts'
import { makeControlFiles, testTokens } from '../support/control-files.ts'
import { storeContract, type StoreUnderTest } from './contract.ts'

async function openThrough(transport: 'https' | 'unix'): Promise<StoreUnderTest> {
  const files = await makeControlFiles()
  const control = await startControl(files.config, { logger: silentLogger(), features: [] })
  const server = control.urls.find((url) => url.startsWith(transport))!
  const store = new RestStore({ server, caFile: files.certificateFile, token: testTokens.admin })
  return {
    store,
    namespace: 'default',
    close: async () => {
      await store.close()
      await control.stop()
      files[Symbol.dispose]()
    },
  }
}

storeContract('rest, TLS', () => openThrough('https'))
storeContract('rest, unix socket', () => openThrough('unix'))
