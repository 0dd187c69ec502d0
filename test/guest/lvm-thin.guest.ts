import { describe } from 'vitest'
import { LvmThinFormat } from '../../src/storage/pools/index.ts'
import { poolContract } from '../storage/pool-contract.ts'
import { lvmThinDrive } from './lvm-thin-drive.ts'

const device = lvmThinDrive()

describe('a pool of thin volumes', () => {
  poolContract({
    format: new LvmThinFormat(),
    device: () => device,
    // The rest takes minutes here, where every process takes ten times as long: test/guest/long.
    parts: ['devices'],
    storm: { command: [process.execPath, process.argv[1]!.replace('.mjs', '.child.mjs')], kills: 0, longest: 4000 },
    seconds: 1,
  })
})
