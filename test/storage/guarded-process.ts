/** A process that keeps floors and caps as an agent does; `guarded-process.ts STATE_DIRECTORY GRACE VOLUMES` (JSON). */
import { silentLogger } from '../../src/base/index.ts'
import { findCgroupIo, IopsGuarantee, ReleaseWatch, type GuardedVolume } from '../../src/storage/io-limits/index.ts'

const [stateDirectory, grace, volumes, iops] = process.argv.slice(2)
const logger = silentLogger()
new IopsGuarantee({
  volumes: () => JSON.parse(volumes!) as GuardedVolume[],
  ability: () => ({ iops: Number(iops), bandwidth: Number(iops) * 65_536, latency: 2e-4 }),
  io: findCgroupIo(),
  release: new ReleaseWatch(stateDirectory!, logger, Number(grace)),
  onWindows: () => {},
  logger: { ...logger, warn: (...words: unknown[]) => console.error(words) },
}).start()
process.stdout.write('ready\n')
