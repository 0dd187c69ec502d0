import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import { storm } from './pool-storm.ts'

await storm(new FilePoolFormat(), process.argv[2]!)
