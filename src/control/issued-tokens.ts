import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { namePattern } from '../api/index.ts'
import { Conflict, Exhausted, flushToDisk, Internal, NotFound, readJsonFile } from '../base/index.ts'
import { callerFields, hashOf, type Caller, type KnownToken } from './tokens.ts'

const IssuedEntry = Type.Object(
  {
    name: Type.String({ pattern: namePattern, maxLength: 253 }),
    hash: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    ...callerFields,
    /** RFC 3339. */
    created: Type.String(),
    expires: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)

/** A token that was issued, as it is kept: never the token itself. */
export type IssuedEntry = Static<typeof IssuedEntry>

/** Tokens that can exist at once; each costs some hundred bytes of a file that is written whole. */
const most = 10_000
const secretBytes = 32

/** What is asked of a new token. */
export interface TokenRequest extends Omit<Caller, 'expiresAt'> {
  name: string
  /** Seconds that it is valid; absent: until it is deleted. */
  lifetime?: number
}

/**
 * Tokens that administrators make and delete while control runs. Only hashes are kept, in one file that is replaced
 * whole and flushed before anybody learns of the change, so that a deleted token stays deleted whatever crashes.
 */
export class IssuedTokens {
  readonly #file: string
  #entries: IssuedEntry[] = []
  #byHash = new Map<string, KnownToken>()

  /** Reads the file, if there is one. Throws InvalidInput or Internal when it cannot be used. */
  constructor(file: string) {
    this.#file = file
    if (existsSync(file)) this.#adopt(readEntries(file))
  }

  find(hash: string): KnownToken | undefined {
    return this.#byHash.get(hash)
  }

  /** All of them, expired ones included, by name. */
  list(): IssuedEntry[] {
    return this.#entries.toSorted((one, other) => (one.name < other.name ? -1 : 1))
  }

  /** Makes a token; this answer is the only place where it can be read. Throws Conflict when the name is taken. */
  create({ name, lifetime, ...caller }: TokenRequest, now = new Date()): { entry: IssuedEntry; token: string } {
    if (this.#entries.some((entry) => entry.name === name)) {
      throw new Conflict(`Token "${name}" already exists`, {
        remedy: 'Choose another name, or delete the existing token.',
        details: { reason: 'AlreadyExists' },
      })
    }
    if (this.#entries.length >= most) {
      throw new Exhausted(`There are ${most} tokens already`, { remedy: 'Delete those that have expired.' })
    }
    const token = randomBytes(secretBytes).toString('base64url')
    const expires = lifetime === undefined ? {} : { expires: new Date(now.getTime() + lifetime * 1000).toISOString() }
    const entry: IssuedEntry = { name, hash: hashOf(token), ...caller, created: now.toISOString(), ...expires }
    this.#write([...this.#entries, entry])
    return { entry, token }
  }

  /** From here on the token proves nothing. Throws NotFound. */
  delete(name: string): IssuedEntry {
    const entry = this.#entries.find((candidate) => candidate.name === name)
    if (!entry) throw new NotFound(`Token "${name}" does not exist`, { remedy: 'See `dctl token list`.' })
    this.#write(this.#entries.filter((candidate) => candidate !== entry))
    return entry
  }

  #write(entries: IssuedEntry[]): void {
    mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 })
    const partial = `${this.#file}.new`
    writeFlushed(partial, `${JSON.stringify(entries, undefined, 1)}\n`)
    renameSync(partial, this.#file)
    flushToDisk(dirname(this.#file))
    this.#adopt(entries)
  }

  #adopt(entries: IssuedEntry[]): void {
    this.#entries = entries
    this.#byHash = new Map(entries.map((entry) => [entry.hash, knownToken(entry)]))
  }
}

function knownToken({ hash, user, role, nodeName, expires }: IssuedEntry): KnownToken {
  const node = nodeName === undefined ? {} : { nodeName }
  return { hash, caller: { user, role, ...node, ...(expires === undefined ? {} : { expiresAt: Date.parse(expires) }) } }
}

function readEntries(file: string): IssuedEntry[] {
  const entries = readJsonFile(file, 'issued tokens')
  if (Value.Check(Type.Array(IssuedEntry), entries)) return entries
  throw new Internal(`The file of issued tokens ${file} is damaged`, {
    remedy: 'Move it away and start control again; then make new tokens with `dctl token create`.',
  })
}

function writeFlushed(file: string, text: string): void {
  const descriptor = openSync(file, 'w', 0o600)
  try {
    writeFileSync(descriptor, text) // all of it: writeSync writes what there is room for
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
