import { LvmThinFormat } from '../../../src/storage/pools/index.ts'
import { storm } from '../../storage/pool-storm.ts'

await storm(new LvmThinFormat(), process.argv[2]!)
