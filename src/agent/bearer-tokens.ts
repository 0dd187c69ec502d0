import { createHash } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { namePattern } from '../api/index.ts'
import { InvalidInput, readJsonFile } from '../base/index.ts'

const exact = { additionalProperties: false }
const owner = {
  user: Type.String(),
  role: Type.String(),
  /** Of an agent: the only node in whose name it may speak. */
  nodeName: Type.Optional(Type.String({ pattern: namePattern, maxLength: 253 })),
}
/** A node that knows others by the digests of their tokens cannot speak in their names. */
const Tokens = Type.Array(
  Type.Union([
    Type.Object({ token: Type.String({ minLength: 8 }), ...owner }, exact),
    Type.Object({ sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }), ...owner }, exact),
  ]),
)

/** Who uses the live API. */
export interface LiveApiUser {
  user: string
  role: string
  nodeName?: string
}

/** Says who a bearer token belongs to, or a token of a visitor; undefined for nobody. Some are known at some paths only. */
export type Authenticate = (
  authorization: string | undefined,
  visitorToken?: string,
  path?: string,
) => LiveApiUser | undefined | Promise<LiveApiUser | undefined>

/** Reads the tokens that may use the live API. Throws InvalidInput when the file is not a list of tokens. */
export function loadBearerTokens(file: string): Authenticate {
  const tokens = readJsonFile(file, 'tokens')
  if (!Value.Check(Tokens, tokens)) {
    throw new InvalidInput(`${file} is not a list of tokens`, {
      remedy:
        'Write a JSON list of {"token", "user", "role"}, or with "sha256", the digest of a token in hexadecimal, in the place ' +
        'of "token"; of an agent "nodeName" too. A token has at least 8 characters.',
    })
  }
  // looked up by digest, so that the time it takes tells nothing about a token
  const users = new Map(
    tokens.map(({ user, role, nodeName, ...secret }): [string, LiveApiUser] => [
      'token' in secret ? digest(secret.token) : secret.sha256,
      { user, role, ...(nodeName === undefined ? {} : { nodeName }) },
    ]),
  )
  return (authorization) => {
    const token = bearerToken(authorization)
    return token === undefined ? undefined : users.get(digest(token))
  }
}

/** The token of an `Authorization` header; undefined when it has none. */
export function bearerToken(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
