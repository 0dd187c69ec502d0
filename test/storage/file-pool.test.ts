import { mkdtempSync, rmSync } from 'node:fs'
import { afterAll, describe } from 'vitest'
import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'
import { poolContract } from './pool-contract.ts'

enterOwnNamespaces()
const scratch = mkdtempSync('/var/tmp/carbonado-file-pool-')
const drive = `${scratch}/drive`
run('truncate', '-s', '1300M', drive)
const device = run('losetup', '--find', '--show', '--direct-io=on', drive).trim()

afterAll(() => {
  run('losetup', '--detach', device)
  rmSync(scratch, { recursive: true })
})

describe('a pool of files', () => {
  poolContract({
    format: new FilePoolFormat(),
    device: () => device,
    storm: { command: [process.execPath, `${import.meta.dirname}/file-pool-storm.ts`], kills: 3, longest: 400 },
    seconds: 2,
    parts: ['entries', 'devices', 'space', 'load', 'crashes'],
  })
})
