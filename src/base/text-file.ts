import { readFileSync } from 'node:fs'
import { InvalidInput } from './errors.ts'

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
