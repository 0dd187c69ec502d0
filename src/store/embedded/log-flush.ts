import { closeSync, fdatasync, fdatasyncSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { flushToDisk, Unavailable } from '../../base/index.ts'
import type { FlushNote } from './log-check.ts'

const flush = promisify(fdatasync)

/**
 * Fills a log up to a size in bytes that it will have soon anyway: to flush what replaces bytes of a file takes the disk
 * half as long as what makes it longer, which is an entry in the journal of the file system as well. SQLite ends a log
 * where the salts of a frame are not those of its header (fileformat2, 4.1), so it does not read the zeros. It is for speed
 * alone: where the disk refuses, the log stays as it was, and what is wrong the first flush tells.
 */
export function growLog(log: string, bytes: number): void {
  const descriptor = openSync(log, 'r+')
  try {
    const { size } = fstatSync(descriptor)
    if (size < bytes) fill(descriptor, size, bytes)
  } finally {
    closeSync(descriptor)
  }
}

function fill(descriptor: number, from: number, to: number): void {
  try {
    writeZeros(descriptor, from, to)
    fdatasyncSync(descriptor)
  } catch {
    truncate(descriptor, from)
  }
}

function truncate(descriptor: number, size: number): void {
  try {
    ftruncateSync(descriptor, size)
  } catch {
    // then there are zeros at its end
  }
}

function writeZeros(descriptor: number, from: number, to: number): void {
  const zeros = Buffer.alloc(to - from)
  for (let at = from; at < to;) at += writeSync(descriptor, zeros, 0, to - at, at)
}

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
  readonly #note: FlushNote | undefined
  readonly #onFailure: (flushed: number) => void
  #flushed = -1
  #running: Promise<void> | undefined
  /** Begins the flush that waits for the end of the turn. */
  #beginNow: (() => void) | undefined
  #failure: Unavailable | undefined

  /**
   * `log` must exist; `committed` tells the version of the last commit. `onFailure` is told once, when the disk has
   * refused, up to which version it has everything.
   */
  constructor(log: string, committed: () => number, note?: FlushNote, onFailure: (flushed: number) => void = () => {}) {
    this.#descriptor = openSync(log, 'r')
    this.#committed = committed
    this.#note = note
    this.#onFailure = onFailure
    flushToDisk(dirname(log)) // the log may be new
  }

  /** The disk has everything up to this version. */
  get flushed(): number {
    return this.#flushed
  }

  /** Why nothing can be made durable any more, if so. */
  get failure(): Unavailable | undefined {
    return this.#failure
  }

  /**
   * Resolves when everything up to a version is on the disk, or all that is committed by now. Throws Unavailable when
   * the disk refused, from then on always: after a failed flush nobody can tell what it has kept.
   */
  async durable(version = Infinity): Promise<void> {
    const needed = Math.min(version, this.#committed())
    while (this.#flushed < needed) {
      if (this.#failure) throw this.#failure
      await (this.#running ??= this.#run())
    }
  }

  /** Begins to flush now, rather than at the end of this turn of the event loop, unless a flush is under way. */
  begin(): void {
    this.durable().catch(() => {}) // told to those who wait for it
    this.#beginNow?.()
  }

  /** To be called when SQLite has closed the file, and with that brought all of it to the disk. */
  async close(): Promise<void> {
    this.#flushed = Infinity
    await this.#running
    closeSync(this.#descriptor)
  }

  /** At the end of the turn of the event loop, unless told to begin before: what others write in it shares the flush. */
  #run(): Promise<void> {
    return new Promise((resolve) => {
      const begin = (): void => {
        clearImmediate(endOfTurn)
        this.#beginNow = undefined
        resolve(this.#flushNow())
      }
      const endOfTurn = setImmediate(begin)
      this.#beginNow = begin
    })
  }

  async #flushNow(): Promise<void> {
    const version = this.#committed()
    try {
      const note = this.#note?.read()
      await flush(this.#descriptor)
      if (note) this.#note?.write(note)
      this.#flushed = Math.max(this.#flushed, version)
    } catch (error) {
      this.#failure = new Unavailable(`The store cannot flush its log to the disk: ${(error as Error).message}`, {
        remedy: 'Check the health of the disk under dataDirectory, then restart control.',
        cause: error,
      })
      this.#onFailure(this.#flushed)
    } finally {
      this.#running = undefined
    }
  }
}
