import { copyFileSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PerfTier } from '../../api/index.ts'
import { backupStore, restoreStore } from './backup.ts'
import { EmbeddedStore } from './embedded-store.ts'

let folder: string
/** A store as a crash left it, with tiers that are only in its log. */
let file: string
/** A backup from before those. */
let backup: string
const inBackup = 5
const inStore = 40

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-backup-'))
  backup = join(folder, 'backup')
  file = join(folder, 'store.db')
  const running = join(folder, 'running.db')
  const store = new EmbeddedStore({ file: running })
  for (let index = 0; index < inStore; index++) {
    if (index === inBackup) backupStore(running, backup)
    await store.create(PerfTier, { metadata: { name: `t${index}` }, spec: {} })
  }
  await store.durable()
  for (const suffix of ['', '-wal', '-shm', '-flushed']) copyFileSync(running + suffix, file + suffix)
  await store.close()
})
afterEach(() => rmSync(folder, { recursive: true }))

/** How many tiers a store has. */
async function count(path = file): Promise<number> {
  const store = new EmbeddedStore({ file: path })
  await store.close()
  return store.count(PerfTier)
}

const damaged = { code: 'Internal', remedy: expect.stringContaining('control restore') as string }

describe('a restore takes nothing from an earlier store', () => {
  test('that crashed', async () => {
    const kept = restoreStore(backup, file)
    expect(await count()).toBe(inBackup)
    expect(await count(kept)).toBe(inStore)
  })

  test('whose file was moved away without its log', async () => {
    const away = join(folder, 'away')
    renameSync(file, away)
    const kept = restoreStore(backup, file)
    expect(readdirSync(folder).filter((name) => name.startsWith('store.db-'))).toEqual([])
    expect(await count()).toBe(inBackup)
    renameSync(away, kept!)
    expect(await count(kept)).toBe(inStore)
  })

  test('that a killed restore left a log of', async () => {
    copyFileSync(`${file}-wal`, `${file}.incoming-wal`)
    restoreStore(backup, file)
    expect(await count()).toBe(inBackup)
  })
})

test('a backup that was broken off has not its name, and does not stop the next one', () => {
  const unfinished = join(folder, 'second.unfinished')
  writeFileSync(unfinished, 'half of it')
  backupStore(file, join(folder, 'second'))
  expect(readdirSync(folder).filter((name) => name.startsWith('second'))).toEqual(['second'])
})

describe('a restore is refused, and changes nothing,', () => {
  test.each([
    ['of an empty file', (path: string) => writeFileSync(path, ''), 'is empty'],
    ['of a copy with a log', (path: string) => ['', '-wal'].forEach((each) => copyFileSync(file + each, path + each)), 'log beside it'],
  ])('%s', async (_what, make, message) => {
    const other = join(folder, 'other')
    make(other)
    expect(() => restoreStore(other, file)).toThrow(
      expect.objectContaining({ code: 'InvalidInput', message: expect.stringContaining(message) as string }),
    )
    expect(await count()).toBe(inStore)
  }) // prettier-ignore
})

test('nothing is kept, and nothing said to be, where no store was', async () => {
  const empty = join(folder, 'empty.db')
  expect(restoreStore(backup, empty)).toBeUndefined()
  expect(await count(empty)).toBe(inBackup)
})

describe('a store without its file is not begun anew', () => {
  const left: [what: string, removed: string[]][] = [
    ['its log and note', []],
    ['its log', ['-flushed']],
    ['its note', ['-wal', '-shm']],
  ]

  test.each(left)('while there is %s', async (_what, removed) => {
    for (const suffix of removed) rmSync(file + suffix)
    const away = join(folder, 'away')
    renameSync(file, away)
    await expect(count()).rejects.toMatchObject(damaged)
    writeFileSync(file, '')
    await expect(count()).rejects.toMatchObject(damaged)
    expect(() => backupStore(file, join(folder, 'another'))).toThrow(expect.objectContaining(damaged))
    expect(existsSync(`${file}-wal`)).toBe(!removed.includes('-wal'))
    renameSync(away, file)
    if (!removed.includes('-wal')) expect(await count()).toBe(inStore)
  })

  test('after a restore that was killed between its renames', async () => {
    for (const suffix of ['', '-wal', '-shm', '-flushed']) rmSync(file + suffix)
    copyFileSync(backup, `${file}.incoming`)
    await expect(count()).rejects.toMatchObject(damaged)
    restoreStore(backup, file)
    expect(await count()).toBe(inBackup)
  })
})
