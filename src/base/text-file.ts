import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CarbonadoError, InvalidInput, Unavailable } from './errors.ts'

/** Reads a text file. Throws InvalidInput that says what the file is for. */
export function readTextFile(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new InvalidInput(`The ${what} file ${file} cannot be read: ${(error as Error).message}`, {
      remedy: 'Correct the path or the permissions.',
      cause: error,
    })
  }
}

/** Milliseconds for which a token that was read serves; whoever replaces it lets the old one hold for longer. */
const tokenFreshness = 60_000

/** A file with a token that may be replaced at any time. */
export class TokenFile {
  readonly #file: string
  readonly #what: string
  #read: { token: string; at: number } | undefined

  /** Reads nothing yet; `what` says in errors what the token is for. */
  constructor(file: string, what: string) {
    this.#file = file
    this.#what = what
  }

  /**
   * The token, at most a minute old. Throws InvalidInput when the file cannot be read, and Unavailable when it could be
   * read before: it may be on its way.
   */
  get token(): string {
    if (!this.#read || performance.now() - this.#read.at > tokenFreshness) {
      this.#read = { token: this.#readAgain(), at: performance.now() }
    }
    return this.#read.token
  }

  #readAgain(): string {
    try {
      return readTextFile(this.#file, this.#what).trim()
    } catch (error) {
      if (!this.#read || !(error instanceof CarbonadoError)) throw error
      throw new Unavailable(error.message, { remedy: error.remedy, cause: error })
    }
  }
}

/** Writes a file for its owner alone, so that a reader never meets half of it; it is not flushed to the disk. */
export async function writeWhole(file: string, text: string): Promise<void> {
  mkdirSync(dirname(file), { recursive: true })
  await writeFile(unfinished(file), text, { mode: 0o600 })
  await rename(unfinished(file), file)
}

function unfinished(file: string): string {
  return `${file}.new`
}

/** Waits until a file, or the names in a folder, are on the disk. */
export function flushToDisk(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Reads a JSON file that this process alone is about to write by `writeWhole`, and which is taken for a `T`; undefined when
 * it is not there or damaged. Removes what a writer that was killed left.
 */
export function readIfWhole<T>(file: string): T | undefined {
  try {
    rmSync(unfinished(file), { force: true })
  } catch {
    // the next write replaces it
  }
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T
  } catch {
    return undefined
  }
}
