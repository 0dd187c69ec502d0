import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadBearerTokens } from './bearer-tokens.ts'

const folder = mkdtempSync(join(tmpdir(), 'carbonado-tokens-'))
const file = join(folder, 'tokens.json')
afterAll(() => rmSync(folder, { recursive: true }))

const ann = { token: 'token-of-ann', user: 'ann', role: 'viewer' }

test('tokens are known by themselves or by their digests, and no others', () => {
  const sha256 = createHash('sha256').update('token-of-n2').digest('hex')
  writeFileSync(file, JSON.stringify([ann, { sha256, user: 'n2', role: 'agent', nodeName: 'n2' }]))
  const known = loadBearerTokens(file)
  expect(known('Bearer token-of-ann')).toEqual({ user: 'ann', role: 'viewer' })
  expect(known('bearer token-of-n2')).toEqual({ user: 'n2', role: 'agent', nodeName: 'n2' })
  for (const other of [undefined, '', 'token-of-ann', 'Bearer', 'Bearer token', `Bearer ${sha256}`]) {
    expect(known(other)).toBeUndefined()
  }
})

test.each([
  ['an object', ann],
  ['a short token', [{ ...ann, token: 'short' }]],
  ['a role that nobody has', [{ ...ann, role: 'Agent' }]],
  ['no role', [{ ...ann, role: undefined }]],
  ['token and digest', [{ ...ann, sha256: 'a'.repeat(64) }]],
  ['half a digest', [{ ...ann, token: undefined, sha256: 'abc' }]],
  ['a name that no node has', [{ ...ann, nodeName: '../n1' }]],
  ['text', 'token-of-ann'],
  ['null', [null]],
])('%s is refused, with what to write and without the token', (_what, tokens) => {
  writeFileSync(file, JSON.stringify(tokens))
  expect(() => loadBearerTokens(file)).toThrow(
    expect.objectContaining({
      code: 'InvalidInput',
      message: expect.not.stringContaining('token-of-ann') as string,
      remedy: expect.stringContaining('roles are') as string,
    }),
  )
})
