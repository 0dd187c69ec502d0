import type { EntryUsage, PoolSpace } from '../../pool-format.ts'
import { exec } from '../../../base/index.ts'
import { dmsetup, failedDrive, mapperName } from './lvm.ts'

/** Name of the logical volume that all entries take their space from. */
export const poolVolume = 'pool'

const sector = 512
const metadataBlock = 4096

/** The device of the thin pool that is below all entries of a volume group. */
export class ThinPoolDevice {
  readonly #target: string
  readonly #metadata: string
  #chunk: number | undefined
  #usages: Promise<Map<number, EntryUsage>> | undefined

  constructor(group: string) {
    this.#target = mapperName(group, poolVolume, '-tpool')
    this.#metadata = `/dev/mapper/${mapperName(group, poolVolume, '_tmeta')}`
  }

  /** Bytes and share of metadata in use, as device mapper counts them (thin-provisioning.rst: status). */
  async space(): Promise<PoolSpace & { metadataUsed: number }> {
    const words = (await dmsetup('status', this.#target)).trim().split(' ')
    const shares = words.slice(4, 6).map((share) => share.split('/').map(Number))
    const [[usedMetadata, allMetadata], [usedBlocks, allBlocks]] = shares as [[number, number], [number, number]]
    if (!allBlocks || words.includes('ro')) throw failedDrive(words.join(' '))
    const chunk = await this.#chunkBytes()
    return { capacity: allBlocks * chunk, used: usedBlocks * chunk, metadataUsed: usedMetadata / allMetadata }
  }

  /**
   * Bytes of every entry by its thin id. Reading them walks the whole metadata, so that those who ask while it is being
   * read share the answer.
   */
  usages(): Promise<Map<number, EntryUsage>> {
    this.#usages ??= this.#readUsages().finally(() => (this.#usages = undefined))
    return this.#usages
  }

  /** From a copy of the metadata that device mapper keeps still meanwhile. */
  async #readUsages(): Promise<Map<number, EntryUsage>> {
    const chunk = await this.#chunkBytes()
    await dmsetup('message', this.#target, '0', 'release_metadata_snap').catch(() => {}) // of a reader that was killed
    await dmsetup('message', this.#target, '0', 'reserve_metadata_snap')
    try {
      const fields = 'DEV,EXCLUSIVE_BLOCKS,SHARED_BLOCKS'
      const { stdout } = await exec(['thin_ls', '--metadata-snap', '--no-headers', '--format', fields, this.#metadata], { deadline: 120_000 }) // prettier-ignore
      const rows = stdout.trim().split('\n').filter(Boolean).map((row) => row.trim().split(/\s+/).map(Number)) // prettier-ignore
      return new Map(rows.map(([id, own, shared]) => [id!, { own: own! * chunk, shared: shared! * chunk, reclaimable: own! * chunk }])) // prettier-ignore
    } finally {
      await dmsetup('message', this.#target, '0', 'release_metadata_snap')
    }
  }

  /** It never changes. */
  async #chunkBytes(): Promise<number> {
    this.#chunk ??= Number((await dmsetup('table', this.#target)).split(' ')[5]) * sector
    return this.#chunk
  }
}

/**
 * Bytes for the metadata of a pool: twice what mapping every chunk once takes, for snapshots that have grown apart; within
 * what device mapper can use.
 */
export function metadataBytes(drive: number, chunk: number, least: number): number {
  const mapping = 64
  const wanted = Math.ceil(drive / chunk) * mapping * 2
  const rounded = Math.ceil(Math.min(Math.max(wanted, least), 15 * 2 ** 30) / 2 ** 20) * 2 ** 20
  return rounded - (rounded % metadataBlock)
}
