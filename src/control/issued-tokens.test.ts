import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tokenRequest } from './identity-routes.ts'
import { IssuedTokens } from './issued-tokens.ts'
import { authenticate, hashOf } from './tokens.ts'

let folder: string
let file: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-issued-'))
  file = join(folder, 'tokens.json')
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a token works until it is deleted, also in the next process, and the file tells no token', () => {
  const first = new IssuedTokens(file)
  const { token } = first.create({ name: 'ann', user: 'ann@example.com', role: 'operator' })
  first.create({ name: 'n1', user: 'n1', role: 'agent', nodeName: 'n1' })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readFileSync(file, 'utf8')).not.toContain(token)

  const second = new IssuedTokens(file)
  expect(authenticate(`Bearer ${token}`, (hash) => second.find(hash))).toEqual({
    user: 'ann@example.com',
    role: 'operator',
  })
  second.delete('ann')
  expect(second.find(hashOf(token))).toBeUndefined()
  expect(new IssuedTokens(file).list().map(({ name }) => name)).toEqual(['n1'])
})

test('a token expires', () => {
  const tokens = new IssuedTokens(file)
  const { token } = tokens.create({ name: 'short', user: 'x', role: 'viewer', lifetime: 60 }, new Date(0))
  const prove = (now: number): unknown => authenticate(`Bearer ${token}`, (hash) => tokens.find(hash), now)
  expect(prove(59_999)).toEqual({ user: 'x', role: 'viewer', expiresAt: 60_000 })
  expect(() => prove(60_000)).toThrow('has expired')
})

test('names exist once; deleting what is not there is told', () => {
  const tokens = new IssuedTokens(file)
  tokens.create({ name: 'ann', user: 'ann', role: 'viewer' })
  const conflict = expect.objectContaining({ code: 'Conflict' })
  expect(() => tokens.create({ name: 'ann', user: 'other', role: 'admin' })).toThrow(conflict)
  expect(() => tokens.delete('bob')).toThrow(expect.objectContaining({ code: 'NotFound' }))
})

test('what a crash left of an unfinished write changes nothing', () => {
  new IssuedTokens(file).create({ name: 'ann', user: 'ann', role: 'viewer' })
  writeFileSync(`${file}.new`, '[{"name": "mall')
  const after = new IssuedTokens(file)
  expect(after.list()).toHaveLength(1)
  after.create({ name: 'bob', user: 'bob', role: 'viewer' })
  expect(new IssuedTokens(file).list()).toHaveLength(2)
})

test.each(['', '{', '{}', '[{"name": "x"}]', '[{"name":"x","hash":"zz","user":"u","role":"admin","created":""}]'])(
  'a damaged file with %j is not taken for an empty one',
  (text) => {
    writeFileSync(file, text)
    expect(() => new IssuedTokens(file)).toThrow(file)
  },
)

test.each([
  [{ spec: { role: 'viewer' } }, { user: 'viewer', role: 'viewer' }],
  [{ spec: { role: 'agent', nodeName: 'n7' } }, { user: 'system:node:n7', nodeName: 'n7' }],
  [
    { metadata: { name: 'x' }, spec: { role: 'admin', expirationSeconds: 60 } },
    { name: 'x', lifetime: 60 },
  ],
])('the request %j is understood', (body, expected) => {
  expect(tokenRequest(body)).toMatchObject(expected)
})

test.each([
  [{}],
  [null],
  [[]],
  ['text'],
  [{ spec: {} }],
  [{ spec: { role: 'root' } }],
  [{ spec: { role: ['admin'] } }],
  [{ spec: { role: 'agent' } }],
  [{ spec: { role: 'viewer', nodeName: 'n1' } }],
  [{ spec: { role: 'viewer', user: '' } }],
  [{ spec: { role: 'viewer', user: 'a\u0000b' } }],
  [{ spec: { role: 'viewer', user: 'x'.repeat(254) } }],
  [{ spec: { role: 'viewer', expirationSeconds: 0 } }],
  [{ spec: { role: 'viewer', expirationSeconds: -1 } }],
  [{ spec: { role: 'viewer', expirationSeconds: 1e300 } }],
  [{ spec: { role: 'viewer', expirationSeconds: '60' } }],
  [{ spec: { role: 'viewer', token: 'chosen-by-the-caller' } }],
  [{ metadata: { name: '../../etc' }, spec: { role: 'viewer' } }],
  [{ metadata: { name: 'x', labels: {} }, spec: { role: 'viewer' } }],
  [{ kind: 'Endpoint', spec: { role: 'viewer' } }],
  [{ spec: { role: 'viewer' }, __proto__x: 1 }],
])('the request %j is refused', (body) => {
  expect(() => tokenRequest(body)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
})

test('whatever is sent, a request is understood or refused', () => {
  const spec = fc.record({ role: fc.anything(), user: fc.anything(), nodeName: fc.anything() }, { requiredKeys: [] })
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.record({ spec, metadata: fc.anything() })), (body) => {
      try {
        expect(['admin', 'operator', 'viewer', 'agent']).toContain(tokenRequest(body).role)
      } catch (error) {
        expect(error).toMatchObject({ code: 'InvalidInput' })
      }
    }),
    { numRuns: 500 },
  )
})
