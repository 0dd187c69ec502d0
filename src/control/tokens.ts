import { hash } from 'node:crypto'
import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { namePattern } from '../api/index.ts'
import { Forbidden, InvalidInput, readJsonFile } from '../base/index.ts'

/** The roles, the mightiest first. */
export const roles = ['admin', 'operator', 'provisioner', 'viewer', 'agent'] as const

/** What a caller may do; see `mayDo`. */
export type Role = (typeof roles)[number]

/** Who a token stands for: fields of an entry, whether it is in the tokens file or was issued. */
export const callerFields = {
  user: Type.String({ minLength: 1, maxLength: 253, pattern: '^[^\\x00-\\x1f\\x7f]+$' }),
  role: Type.Union(roles.map((role) => Type.Literal(role))),
  /** The node whose agent this is; an agent's token needs it, others must not have it. */
  nodeName: Type.Optional(Type.String({ pattern: namePattern, maxLength: 253 })),
}

const TokenEntry = Type.Object(
  { token: Type.String({ minLength: 16, maxLength: 4096, pattern: '^[\\x21-\\x7e]+$' }), ...callerFields },
  { additionalProperties: false },
)

/** Who makes a request. */
export interface Caller {
  user: string
  role: Role
  /** Set for agents: the only node that it may speak for. */
  nodeName?: string
  /** Milliseconds since 1970 from which on the token proves nothing; absent: never. */
  expiresAt?: number
}

/** A token that is known: its hash and whom it stands for. */
export interface KnownToken {
  /** As `hashOf` makes it. */
  hash: string
  caller: Caller
}

/**
 * The caller that an `Authorization` header proves. Throws Forbidden (Unauthorized). `find` looks a token up by its hash,
 * so the time taken tells nothing about a token.
 */
export function authenticate(
  authorization: string | undefined,
  find: (hash: string) => KnownToken | undefined,
  now = Date.now(),
): Caller {
  const token = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(authorization ?? '')?.[1]
  const known = token === undefined ? undefined : find(hashOf(token))
  if (known && now < (known.caller.expiresAt ?? Infinity)) return known.caller
  throw new Forbidden(whyUnauthorized(authorization, known), {
    remedy: 'Send "Authorization: Bearer TOKEN" with a token that control knows; with dctl, `dctl login`.',
    details: { reason: 'Unauthorized' },
  })
}

function whyUnauthorized(authorization: string | undefined, known: KnownToken | undefined): string {
  if (authorization === undefined) return 'No bearer token was given'
  return known ? 'The bearer token has expired' : 'The bearer token is not known'
}

/** Reads the tokens file, by hash. Throws InvalidInput; its message never contains a token. */
export function readTokens(file: string): Map<string, KnownToken> {
  const entries = readJsonFile(file, 'tokens')
  const schema = Type.Array(TokenEntry, { minItems: 1 })
  if (!Value.Check(schema, entries)) {
    const problem = Value.Errors(schema, entries).First()!
    throw invalidTokens(file, `${problem.path || 'it'}: ${problem.message}`)
  }
  for (const [index, entry] of entries.entries()) {
    const problem = callerProblem(entry)
    if (problem !== undefined) throw invalidTokens(file, `/${index}: ${problem}`)
  }
  return new Map(entries.map(({ token, ...caller }) => [hashOf(token), { hash: hashOf(token), caller }]))
}

/** What is wrong with whom a token stands for, beyond its schema; undefined: nothing. */
export function callerProblem({
  role,
  nodeName,
}: Pick<Static<typeof TokenEntry>, 'role' | 'nodeName'>): string | undefined {
  if (role === 'agent' && nodeName === undefined) return 'the token of an agent needs the nodeName that it is for'
  if (role !== 'agent' && nodeName !== undefined) return `a token of role ${role} has no nodeName`
  return undefined
}

/** What is kept of a token: SHA-256 in hexadecimal. Tokens are long and random, so no salt or slow hash is needed. */
export function hashOf(token: string): string {
  return hash('sha256', token)
}

function invalidTokens(file: string, problem: string): InvalidInput {
  return new InvalidInput(`The tokens file ${file} is not valid: ${problem}`, {
    remedy:
      'Write [{"token": "at least 16 characters", "user": "...", "role": "admin|operator|viewer"}], ' +
      'and for an agent {"token": ..., "user": ..., "role": "agent", "nodeName": "n1"}.',
  })
}
