import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FilesystemType } from '../../../api/index.ts'
import { flushToDisk, type Logger } from '../../../base/index.ts'

/** A place where a container sees a volume. */
export interface TargetRecord {
  path: string
  readOnly: boolean
  /** `publishing` and `unpublishing`: it may be mounted or not, and nobody was told that it is. */
  state: 'publishing' | 'published' | 'unpublishing'
}

/** What the agent knows of one volume that is staged on this node, or on its way. */
export interface PublishRecord {
  volumeName: string
  volumeUid: string
  /**
   * - `formatting`: a filesystem is being made on a device that was empty; half of one may be there.
   * - `staging`, `unstaging`: it may be mounted or not, and nobody was told that it is.
   * - `staged`: the orchestrator was told.
   */
  state: 'formatting' | 'staging' | 'staged' | 'unstaging'
  stagingPath: string
  device: string
  access: 'mount' | 'block'
  filesystem?: FilesystemType
  readOnly: boolean
  mountFlags: string[]
  targets: TargetRecord[]
}

/**
 * The agent's memory of what is staged and published here, a file for each volume. It survives the death of the
 * process; of an earlier boot only `formatting` still means anything, because mounts go with the machine.
 */
export class PublishJournal {
  readonly #folder: string
  readonly #bootId: string
  readonly #records = new Map<string, PublishRecord>()

  constructor(folder: string, bootId: string, logger: Logger) {
    this.#folder = folder
    this.#bootId = bootId
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(folder)) {
      const file = join(folder, name)
      const read = name.endsWith('.json') ? readRecord(file) : undefined
      if (read && (read.bootId === bootId || read.record.state === 'formatting')) {
        this.#records.set(read.record.volumeName, read.record)
        continue
      }
      if (!read && name.endsWith('.json')) logger.warn({ file }, 'a damaged record of a volume is left out')
      rmSync(file, { force: true })
    }
  }

  get(volumeName: string): PublishRecord | undefined {
    return this.#records.get(volumeName)
  }

  all(): PublishRecord[] {
    return [...this.#records.values()]
  }

  /**
   * In one step: whoever reads after a crash finds the record of before or this one. `formatting` means something after a
   * power failure: it is on the disk before the first byte of the filesystem, and gone from there before anybody uses it.
   */
  put(record: PublishRecord): void {
    const file = this.#fileOf(record.volumeName)
    const flush = record.state === 'formatting' || this.#isFormatting(record.volumeName)
    writeFileSync(`${file}.new`, JSON.stringify({ bootId: this.#bootId, record }), { mode: 0o600, flush })
    renameSync(`${file}.new`, file)
    if (flush) flushToDisk(this.#folder)
    this.#records.set(record.volumeName, record)
  }

  delete(volumeName: string): void {
    rmSync(this.#fileOf(volumeName), { force: true })
    if (this.#isFormatting(volumeName)) flushToDisk(this.#folder)
    this.#records.delete(volumeName)
  }

  #isFormatting(volumeName: string): boolean {
    return this.#records.get(volumeName)?.state === 'formatting'
  }

  #fileOf(volumeName: string): string {
    return join(this.#folder, `${volumeName}.json`)
  }
}

function readRecord(file: string): { bootId: string; record: PublishRecord } | undefined {
  try {
    const value = JSON.parse(readFileSync(file, 'utf8')) as { bootId?: string; record?: Partial<PublishRecord> }
    const { volumeName, stagingPath, targets } = value.record ?? {}
    const isWhole = typeof volumeName === 'string' && typeof stagingPath === 'string' && Array.isArray(targets)
    return isWhole ? (value as { bootId: string; record: PublishRecord }) : undefined
  } catch {
    return undefined
  }
}
