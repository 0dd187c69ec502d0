import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { IssuedTokens } from '../../src/control/issued-tokens.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

let folder: string

beforeAll(() => enterOwnNamespaces())
beforeEach(() => {
  folder = mkdtempSync('/var/tmp/carbonado-tokens-')
  run('mount', '-t', 'tmpfs', '-o', 'size=512k', 'none', folder)
  mkdirSync(`${folder}/data`)
})
afterEach(() => {
  run('umount', folder)
  rmSync(folder, { recursive: true })
})

test('a token for which there is no room is refused, and those that there are stay', () => {
  const file = `${folder}/data/tokens.json`
  const tokens = new IssuedTokens(file)
  for (let number = 0; number < 200; number++)
    tokens.create({ name: `token-${number}`, user: 'someone', role: 'viewer' })
  const { bavail, bsize } = statfsSync(folder)
  writeFileSync(`${folder}/filler`, Buffer.alloc((bavail - 3) * bsize)) // less is left than the file has, but something
  expect(() => tokens.create({ name: 'one-too-many', user: 'someone', role: 'viewer' })).toThrow('ENOSPC')
  expect(new IssuedTokens(file).list()).toHaveLength(200)
  rmSync(`${folder}/filler`)
  tokens.create({ name: 'one-more', user: 'someone', role: 'viewer' })
  expect(new IssuedTokens(file).list()).toHaveLength(201)
})
