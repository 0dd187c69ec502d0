import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PerfTier } from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import { EmbeddedStore } from './embedded-store.ts'

const suffixes = ['', '-wal', '-flushed']
const count = 60
let folder: string

/** Copies the files of a store as a crash would leave them, into a folder of its own. */
function copyTo(from: string, name: string): string {
  mkdirSync(join(folder, name), { recursive: true })
  const to = join(folder, name, 'store.db')
  for (const suffix of [...suffixes, '-shm']) {
    if (existsSync(from + suffix) && suffix !== '-shm') copyFileSync(from + suffix, to + suffix)
    else rmSync(to + suffix, { force: true })
  }
  if (existsSync(`${to}-wal`)) writeFileSync(`${to}-wal`, usedPart(readFileSync(`${to}-wal`)))
  return to
}

/** A log without the zeros that it was filled up with. */
function usedPart(log: Buffer): Buffer {
  const last = log.findLastIndex((byte) => byte !== 0)
  const [header, frame] = [32, 24 + 4096]
  return log.subarray(0, header + Math.ceil((last + 1 - header) / frame) * frame)
}

/** Names of the tiers in a store; an error when it is not opened. */
async function opened(file: string): Promise<string[] | CarbonadoError> {
  try {
    const store = new EmbeddedStore({ file })
    const { items } = await store.list(PerfTier)
    await store.close()
    return items.map(({ metadata, spec }) => `${metadata.name} ${spec.storageIops}`)
  } catch (error) {
    if (error instanceof CarbonadoError) return error
    throw error
  }
}

function flip(path: string, at: number, mask: number): void {
  const bytes = readFileSync(path)
  bytes[at % bytes.length]! ^= mask
  writeFileSync(path, bytes)
}

const expected = Array.from({ length: count }, (_, index) => `t${String(index).padStart(2, '0')} ${index}`)
let inFile: string
let inLog: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-damage-'))
  const file = join(folder, 'store.db')
  const store = new EmbeddedStore({ file })
  for (const [index, text] of expected.entries()) {
    await store.create(PerfTier, { metadata: { name: text.split(' ')[0]! }, spec: { storageIops: index } })
  }
  await store.durable()
  inLog = copyTo(file, 'in-log')
  await store.close()
  inFile = copyTo(file, 'in-file')
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('one flipped bit', () => {
  const position = fc.nat(1_000_000)
  const bit = fc.integer({ min: 0, max: 7 }).map((shift) => 1 << shift)

  test.each([
    ['of the file', () => inFile, ''],
    ['of the log', () => inLog, '-wal'],
  ])('%s is noticed, or changes nothing that is read', { timeout: 300_000 }, async (_what, pristine, suffix) => {
    let refused = 0
    await fc.assert(
      fc.asyncProperty(position, bit, async (at, mask) => {
        const file = copyTo(pristine(), 'flipped')
        flip(file + suffix, at, mask)
        const found = await opened(file)
        if (!(found instanceof CarbonadoError)) {
          expect(found).toEqual(expected)
          return
        }
        refused++
        expect(found.code).toMatch(/^(Internal|InvalidInput)$/)
        expect(found.message).toContain('store.db')
        expect(found.remedy).toMatch(/backup|version of Carbonado|dataDirectory/)
      }),
      { numRuns: 500 },
    )
    expect(refused).toBeGreaterThan(0)
  })
})

test.each([18, 19])('byte %i of the header, of which SQLite says that the file is only for reading', async (at) => {
  const file = copyTo(inFile, 'header')
  flip(file, at, 64)
  expect(await opened(file)).toMatchObject({ code: 'Internal', message: expect.stringContaining(file) as string })
})

test('a log that was cut off where it had been flushed is noticed, and one that was not flushed so far is not', async () => {
  const cut = copyTo(inLog, 'cut')
  writeFileSync(`${cut}-wal`, readFileSync(`${cut}-wal`).subarray(0, -4120))
  expect(await opened(cut)).toMatchObject({ code: 'Internal', message: expect.stringContaining('frames') as string })
  const longer = copyTo(inLog, 'longer')
  writeFileSync(`${longer}-wal`, Buffer.concat([readFileSync(`${longer}-wal`), Buffer.alloc(5_000, 7)]))
  expect(await opened(longer)).toEqual(expected)
  const filled = copyTo(inLog, 'filled')
  writeFileSync(`${filled}-wal`, Buffer.concat([readFileSync(`${filled}-wal`), Buffer.alloc(5_000)]))
  expect(await opened(filled)).toEqual(expected)
  const gone = copyTo(inLog, 'gone')
  rmSync(`${gone}-wal`)
  expect(await opened(gone)).toMatchObject({ code: 'Internal' })
  rmSync(`${gone}-flushed`) // what the remedy says
  expect(await opened(gone)).toEqual([])
})

/** Files of a store as a crash leaves them, with a log that was flushed, after another program has changed something. */
async function changedInLog(name: string, change: string): Promise<string> {
  const file = join(folder, `${name}.db`)
  const store = new EmbeddedStore({ file })
  await store.create(PerfTier, { metadata: { name: 'kept' }, spec: { storageIops: 7 } })
  await store.durable()
  const other = new DatabaseSync(file)
  other.exec(change)
  const copy = copyTo(file, name)
  other.close()
  await store.close()
  return copy
}

describe('a log that SQLite has brought into the file and removed', () => {
  test.each([
    ['row', `UPDATE objects SET body = replace(body, '7', '8')`, 'kept has changed'],
    ['format', 'PRAGMA user_version = 99', 'format 99'],
    ['first write', `CREATE TRIGGER no BEFORE INSERT ON changes BEGIN SELECT raise(ABORT, 'refused'); END`, 'refused'],
  ])('is not missed after an opening that failed for its %s', async (name, change, message) => {
    const file = await changedInLog(`bad-${name}`, change)
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await opened(file)).toMatchObject({ message: expect.stringContaining(message) as string })
      expect(suffixes.map((suffix) => existsSync(file + suffix))).toEqual([true, false, false])
    }
  })

  test('is not missed after control ran without flushing each write', async () => {
    const file = copyTo(inLog, 'unflushed')
    await new EmbeddedStore({ file, syncEveryWrite: false }).close()
    expect(await opened(file)).toEqual(expected)
  })
})

test('a log that could not be brought into the file keeps its note', async () => {
  const file = join(folder, 'read.db')
  const store = new EmbeddedStore({ file })
  const reader = new DatabaseSync(file, { readOnly: true })
  reader.exec('BEGIN; SELECT * FROM objects')
  await store.create(PerfTier, { metadata: { name: 'late' }, spec: {} })
  await store.durable()
  await store.close()
  reader.close()
  flip(`${file}-wal`, usedPart(readFileSync(`${file}-wal`)).length - 100, 1)
  expect(await opened(file)).toMatchObject({ code: 'Internal', message: expect.stringContaining('frames') as string })
})

test('a flush that is under way when the store is closed ends well', async () => {
  const store = new EmbeddedStore({ file: join(folder, 'closing.db') })
  await store.create(PerfTier, { metadata: { name: 'late' }, spec: {} })
  const flushed = store.durable()
  await store.close()
  await flushed
})

test('a store of the format without checksums gets them', async () => {
  const file = copyTo(inFile, 'old')
  const old = new DatabaseSync(file)
  old.exec('ALTER TABLE objects DROP COLUMN sum; ALTER TABLE changes DROP COLUMN sum; PRAGMA user_version = 1')
  old.close()
  expect(await opened(file)).toEqual(expected)
  expect(await opened(file)).toEqual(expected)
  const now = new DatabaseSync(file)
  now.exec(`UPDATE objects SET body = replace(body, '"storageIops":7', '"storageIops":8')`)
  now.close()
  expect(await opened(file)).toMatchObject({ code: 'Internal', message: expect.stringContaining('t07') as string })
})
