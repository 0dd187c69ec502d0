import { afterAll, describe } from 'vitest'
import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import { enterOwnNamespaces } from '../support/own-namespaces.ts'
import { makePoolDrive } from '../support/pool-drive.ts'
import { poolContract } from '../storage/pool-contract.ts'

enterOwnNamespaces()
const drive = makePoolDrive()
afterAll(() => drive.remove())

describe('a pool of files, for long', () => {
  poolContract({
    format: new FilePoolFormat(),
    device: () => drive.device,
    storm: {
      command: [process.execPath, `${import.meta.dirname}/../storage/file-pool-storm.ts`],
      kills: 200,
      longest: 400,
    },
    seconds: 20,
    parts: ['load', 'crashes', 'full'],
  })
})
