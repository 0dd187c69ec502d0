import { describe } from 'vitest'
import { LvmThinFormat } from '../../../src/storage/pools/index.ts'
import { poolContract } from '../../storage/pool-contract.ts'
import { lvmThinDrive } from '../lvm-thin-drive.ts'

const device = lvmThinDrive()

describe('a pool of thin volumes', () => {
  poolContract({
    format: new LvmThinFormat(),
    device: () => device,
    storm: { command: [process.execPath, process.argv[1]!.replace('.mjs', '.child.mjs')], kills: 6, longest: 4000 },
    seconds: 5,
  })
})
