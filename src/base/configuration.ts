import { InvalidInput } from './errors.ts'
import { readTextFile } from './text-file.ts'

/** Reads a file of JSON. Throws InvalidInput that says what the file is for. */
export function readJsonFile(file: string, what: string): unknown {
  const text = readTextFile(file, what)
  try {
    return JSON.parse(text)
  } catch {
    // the parser's message would quote the text, which may hold secrets
    throw new InvalidInput(`The ${what} file ${file} is not JSON`, { remedy: 'Correct the file.' })
  }
}

/** What a schema finds wrong at a place such as `/listen/port`. */
export interface SchemaProblem {
  path: string
  message: string
}

/** Most problems that are named: whoever has more of them has given another file. */
const mostNamed = 5

/** The error for a configuration that its schema does not accept; `document` lists its keys. */
export function invalidConfiguration(
  source: string,
  problems: Iterable<SchemaProblem>,
  document: string,
): InvalidInput {
  const named = [...problems].slice(0, mostNamed)
  const text = named.map(({ path, message }) => `${path.slice(1).replaceAll('/', '.') || 'it'}: ${message}`)
  return new InvalidInput(`The configuration ${source} is not valid: ${text.join('; ')}`, {
    remedy: `Correct the named keys; ${document} lists them all.`,
  })
}
