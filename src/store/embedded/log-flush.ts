import { closeSync, fdatasync, fsyncSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { setImmediate as turnOfLoop } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Unavailable } from '../../base/index.ts'

const flush = promisify(fdatasync)

/**
 * Brings SQLite's write-ahead log to the disk beside the commits, so that neither they nor the event loop wait for it
 * and whatever is committed meanwhile shares the next flush.
 *
 * With `synchronous = NORMAL` a commit is appended to the log and not flushed; recovery takes the log up to the first
 * commit that is not whole. So a flush of the log after a commit makes that one and all before it durable, and what a
 * checkpoint has moved out of the log SQLite has flushed itself.
 */
export class LogFlush {
  readonly #descriptor: number
  readonly #committed: () => number
  #flushed = -1
  #running: Promise<void> | undefined
  #failure: Unavailable | undefined

  /** `log` must exist; `committed` tells the version of the last commit. */
  constructor(log: string, committed: () => number) {
    this.#descriptor = openSync(log, 'r')
    this.#committed = committed
    const folder = openSync(dirname(log), 'r')
    fsyncSync(folder) // the log may be new
    closeSync(folder)
  }

  /**
   * Resolves when everything up to a version is on the disk, or all that is committed by now. Throws Unavailable when the disk refused, from then on
   * always: after a failed flush nobody can tell what it has kept.
   */
  async durable(version = Infinity): Promise<void> {
    const needed = Math.min(version, this.#committed())
    while (this.#flushed < needed) {
      if (this.#failure) throw this.#failure
      await (this.#running ??= this.#run())
    }
  }

  /** To be called when SQLite has closed the file, and with that brought all of it to the disk. */
  async close(): Promise<void> {
    this.#flushed = Infinity
    await this.#running
    closeSync(this.#descriptor)
  }

  async #run(): Promise<void> {
    await turnOfLoop() // what others write in this turn of the event loop shares the flush
    const version = this.#committed()
    try {
      await flush(this.#descriptor)
      this.#flushed = Math.max(this.#flushed, version)
    } catch (error) {
      this.#failure = new Unavailable(`The store cannot flush its log to the disk: ${(error as Error).message}`, {
        remedy: 'Check the health of the disk under dataDirectory, then restart control.',
        cause: error,
      })
    } finally {
      this.#running = undefined
    }
  }
}
