import { createHash, timingSafeEqual } from 'node:crypto'
import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { Forbidden, InvalidInput } from '../base/index.ts'
import { readJsonFile } from './config.ts'

const TokenEntry = Type.Object(
  {
    token: Type.String({ minLength: 16, maxLength: 4096, pattern: '^[\\x21-\\x7e]+$' }),
    user: Type.String({ minLength: 1 }),
    role: Type.Union(
      ['admin', 'operator', 'viewer', 'agent'].map((role) =>
        Type.Literal(role as 'admin' | 'operator' | 'viewer' | 'agent'),
      ),
    ),
  },
  { additionalProperties: false },
)

/** What a caller may do; see `mayDo`. */
export type Role = Static<typeof TokenEntry>['role']

/** Who makes a request. */
export interface Caller {
  user: string
  role: Role
}

/** The known bearer tokens. Only their hashes are kept. */
export class Tokens {
  readonly #entries: { hash: Buffer; caller: Caller }[]

  constructor(entries: Static<typeof TokenEntry>[]) {
    this.#entries = entries.map(({ token, user, role }) => ({ hash: hashOf(token), caller: { user, role } }))
  }

  /**
   * The caller that an `Authorization` header proves. Throws Forbidden (Unauthorized). Hashes of equal length are
   * compared, all of them and in constant time, so the time taken tells nothing about a token.
   */
  authenticate(authorization: string | undefined): Caller {
    const match = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(authorization ?? '')
    const hash = hashOf(match?.[1] ?? '')
    let found: Caller | undefined
    for (const entry of this.#entries) if (timingSafeEqual(entry.hash, hash)) found ??= entry.caller
    if (match && found) return found
    throw new Forbidden(authorization === undefined ? 'No bearer token was given' : 'The bearer token is not known', {
      remedy: 'Send "Authorization: Bearer TOKEN" with a token of the tokens file; with dctl, `dctl login`.',
      details: { reason: 'Unauthorized' },
    })
  }
}

/** Reads the tokens file. Throws InvalidInput; its message never contains a token. */
export function readTokens(file: string): Tokens {
  const entries = readJsonFile(file, 'tokens')
  const schema = Type.Array(TokenEntry, { minItems: 1 })
  if (Value.Check(schema, entries)) return new Tokens(entries)
  const problem = Value.Errors(schema, entries).First()!
  throw new InvalidInput(`The tokens file ${file} is not valid: ${problem.path || 'it'}: ${problem.message}`, {
    remedy: 'Write [{"token": "at least 16 characters", "user": "...", "role": "admin|operator|viewer|agent"}].',
  })
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
