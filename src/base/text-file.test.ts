import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readIfWhole, TokenFile, writeWhole } from './text-file.ts'

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-text-file-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

test('what a writer that was killed left is gone after the next start, and the file is as it was before', async () => {
  const folder = makeFolder()
  const file = join(folder, 'state.json')
  await writeWhole(file, '{"a":1}')
  writeFileSync(`${file}.new`, '{"a":')
  expect(readIfWhole(file)).toEqual({ a: 1 })
  expect(readdirSync(folder)).toEqual(['state.json'])
})

test.each([
  ['is not there', undefined],
  ['is damaged', '{"a":'],
])('a file that %s is nothing', (_what, text) => {
  const file = join(makeFolder(), 'state.json')
  if (text !== undefined) writeFileSync(file, text)
  expect(readIfWhole(file)).toBeUndefined()
})

test('a token file that is missing is a mistake at first, and on its way when it was there before', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const file = join(makeFolder(), 'token')
  const token = new TokenFile(file, 'test token')
  expect(() => token.token).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
  writeFileSync(file, 'one\n')
  expect(token.token).toBe('one')
  rmSync(file)
  expect(token.token).toBe('one')
  vi.advanceTimersByTime(61_000)
  expect(() => token.token).toThrow(expect.objectContaining({ code: 'Unavailable' }))
  writeFileSync(file, 'two\n')
  expect(token.token).toBe('two')
})
