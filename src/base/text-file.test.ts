import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readIfWhole, writeWhole } from './text-file.ts'

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
