import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Snapshots that are being taken of frozen filesystems. */
export interface QuiesceRecord {
  /** Ids in the pool. */
  snapshots: string[]
  /** Paths of the block devices whose filesystems are frozen. */
  devices: string[]
}

/**
 * What was begun and not ended, in a folder that a boot empties, as it thaws everything: a record is there from before the
 * first filesystem is frozen until all go on and the snapshots are known to be good.
 */
export class QuiesceJournal {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Records that are there; of one that was cut off while it was written nothing was begun. */
  records(): QuiesceRecord[] {
    return this.#names().flatMap((name) => {
      try {
        return [JSON.parse(readFileSync(join(this.#folder, name), 'utf8')) as QuiesceRecord]
      } catch {
        rmSync(join(this.#folder, name), { force: true })
        return []
      }
    })
  }

  begin(record: QuiesceRecord): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    writeFileSync(this.#path(record), JSON.stringify(record))
  }

  end(record: QuiesceRecord): void {
    rmSync(this.#path(record), { force: true })
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder)
    } catch {
      return [] // nothing was ever begun
    }
  }

  #path({ snapshots }: QuiesceRecord): string {
    return join(this.#folder, snapshots[0]!)
  }
}
