import { afterAll, describe } from 'vitest'
import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import { enterOwnNamespaces } from '../support/own-namespaces.ts'
import { makePoolDrive } from '../support/pool-drive.ts'
import { poolContract } from './pool-contract.ts'

enterOwnNamespaces()
const drive = makePoolDrive()
afterAll(() => drive.remove())

describe('a pool of files', () => {
  poolContract({
    format: new FilePoolFormat(),
    device: () => drive.device,
    storm: { command: [process.execPath, `${import.meta.dirname}/file-pool-storm.ts`], kills: 3, longest: 400 },
    seconds: 2,
    parts: ['entries', 'devices', 'space', 'load', 'crashes'],
  })
})
