import { createHash } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { InvalidInput, readJsonFile } from '../base/index.ts'

const Tokens = Type.Array(
  Type.Object({ token: Type.String({ minLength: 8 }), user: Type.String(), role: Type.String() }),
)

/** Who uses the live API. */
export interface LiveApiUser {
  user: string
  role: string
}

/** Says who a bearer token belongs to; undefined for nobody. */
export type Authenticate = (authorization: string | undefined) => LiveApiUser | undefined

/** Reads the tokens that may use the live API. Throws InvalidInput when the file is not a list of tokens. */
export function loadBearerTokens(file: string): Authenticate {
  const tokens = readJsonFile(file, 'tokens')
  if (!Value.Check(Tokens, tokens)) {
    throw new InvalidInput(`${file} is not a list of tokens`, {
      remedy: 'Write a JSON list of {"token", "user", "role"}; a token has at least 8 characters.',
    })
  }
  // looked up by digest, so that the time it takes tells nothing about a token
  const users = new Map(tokens.map(({ token, user, role }) => [digest(token), { user, role }]))
  return (authorization) => {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
    return token === undefined ? undefined : users.get(digest(token))
  }
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('base64')
}
