import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readTokens, Tokens } from './tokens.ts'

const tokens = new Tokens([
  { token: 'first-token-0123456', user: 'ann', role: 'admin' },
  { token: 'second-token-012345', user: 'bob', role: 'viewer' },
])

test('a known token proves its user', () => {
  expect(tokens.authenticate('Bearer first-token-0123456')).toEqual({ user: 'ann', role: 'admin' })
  expect(tokens.authenticate('bearer second-token-012345')).toEqual({ user: 'bob', role: 'viewer' })
})

test.each([
  undefined,
  '',
  'Bearer',
  'Bearer ',
  'Bearer first-token-012345',
  'Bearer first-token-01234567',
  'Bearer FIRST-TOKEN-0123456',
  'Basic first-token-0123456',
  'first-token-0123456',
  'Bearer first-token-0123456 second-token-012345',
  `Bearer ${'x'.repeat(10_000)}`,
])('%s proves nothing', (header) => {
  const unauthorized = expect.objectContaining({ code: 'Forbidden', details: { reason: 'Unauthorized' } })
  expect(() => tokens.authenticate(header)).toThrow(unauthorized)
})

test('no token matches where there are none, not even an empty one', () => {
  expect(() => new Tokens([]).authenticate('Bearer ')).toThrow()
})

test.each([
  ['{}'],
  ['[]'],
  ['not json with secret-token-value'],
  ['[{"token": "short", "user": "a", "role": "admin"}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "root"}]'],
  ['[{"token": "secret-token-value", "user": "a", "role": "admin", "more": 1}]'],
])('a file with %s is refused, and the message tells no token', (text) => {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-tokens-'))
  const file = join(folder, 'tokens.json')
  writeFileSync(file, text)
  let message = ''
  try {
    readTokens(file)
  } catch (error) {
    message = (error as Error).message
  }
  rmSync(folder, { recursive: true })
  expect(message).toContain('tokens.json')
  expect(message).not.toContain('secret-token-value')
})
