import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { authenticate, hashOf, readTokens, type Caller, type KnownToken } from './tokens.ts'

const known = new Map<string, KnownToken>(
  [
    { token: 'first-token-0123456', caller: { user: 'ann', role: 'admin' as const } },
    { token: 'second-token-012345', caller: { user: 'bob', role: 'viewer' as const, expiresAt: 1_000 } },
  ].map(({ token, ...rest }) => [hashOf(token), { hash: hashOf(token), ...rest }]),
)
const prove = (header: string | undefined, now = 0): Caller => authenticate(header, (hash) => known.get(hash), now)

test('a known token proves its user until it expires', () => {
  expect(prove('Bearer first-token-0123456', 1e15)).toEqual({ user: 'ann', role: 'admin' })
  expect(prove('bearer second-token-012345', 999)).toMatchObject({ user: 'bob', role: 'viewer' })
  expect(() => prove('bearer second-token-012345', 1_000)).toThrow('has expired')
})

test.each([
  undefined,
  '',
  'Bearer',
  'Bearer ',
  'Bearer first-token-012345',
  'Bearer first-token-01234567',
  'Bearer FIRST-TOKEN-0123456',
  `Bearer ${hashOf('first-token-0123456')}`,
  'Basic first-token-0123456',
  'first-token-0123456',
  'Bearer first-token-0123456 second-token-012345',
  `Bearer ${'x'.repeat(10_000)}`,
])('%s proves nothing', (header) => {
  const unauthorized = expect.objectContaining({ code: 'Forbidden', details: { reason: 'Unauthorized' } })
  expect(() => prove(header)).toThrow(unauthorized)
})

function readText(text: string): Map<string, KnownToken> {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-tokens-'))
  const file = join(folder, 'tokens.json')
  writeFileSync(file, text)
  try {
    return readTokens(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('an agent is known with its node', () => {
  const tokens = readText('[{"token": "secret-token-value", "user": "a", "role": "agent", "nodeName": "n1"}]')
  expect(tokens.get(hashOf('secret-token-value'))?.caller).toEqual({ user: 'a', role: 'agent', nodeName: 'n1' })
})

test.each([
  ['{}'],
  ['[]'],
  ['not json with secret-token-value'],
  ['[{"token": "short", "user": "a", "role": "admin"}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "root"}]'],
  ['[{"token": "secret-token-value", "user": "a\\n", "role": "admin"}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "admin", "more": 1}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "agent"}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "agent", "nodeName": "N_1"}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "viewer", "nodeName": "n1"}]'],
])('a file with %s is refused, and the message tells no token', (text) => {
  let message = ''
  try {
    readText(text)
  } catch (error) {
    message = (error as Error).message
  }
  expect(message).toContain('tokens.json')
  expect(message).not.toContain('secret-token-value')
})
