import { createHook } from 'node:async_hooks'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { growLog, LogFlush } from './log-flush.ts'

let folder: string
let version: number
/** Requests to the file system so far that do not block the event loop; those here are all flushes. */
let flushes: number
const counter = createHook({
  init(_id, type) {
    if (type === 'FSREQCALLBACK') flushes += 1
  },
})

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-flush-'))
  writeFileSync(join(folder, 'log'), 'x')
  version = 1
  flushes = 0
  counter.enable()
})

afterEach(() => {
  counter.disable()
  rmSync(folder, { recursive: true })
})

const open = (): LogFlush => new LogFlush(join(folder, 'log'), () => version)

test('one flush serves all who wait, and there is none when nothing is new', async () => {
  const log = open()
  await Promise.all(Array.from({ length: 20 }, () => log.durable()))
  expect(flushes).toBe(1)
  await log.durable()
  expect(flushes).toBe(1)
  version += 1
  await log.durable()
  expect(flushes).toBe(2)
  await log.close()
})

test('a flush that began before a commit does not count for it', async () => {
  const log = open()
  const first = log.durable()
  while (flushes === 0) await new Promise(setImmediate)
  version += 1
  const second = log.durable()
  await Promise.all([first, log.durable(1)])
  expect(flushes).toBe(1)
  await second
  expect(flushes).toBe(2)
  await log.close()
})

test('a flush that is begun at once waits for nobody else, and others share it', async () => {
  const log = open()
  const waiting = log.durable()
  expect(flushes).toBe(0)
  log.begin()
  expect(flushes).toBe(1)
  await Promise.all([waiting, log.durable()])
  expect(flushes).toBe(1)
  log.begin() // nothing is new
  await log.durable()
  expect(flushes).toBe(1)
  await log.close()
})

test('after a refusal of the disk nothing is durable any more', async () => {
  const log = new LogFlush('/dev/null', () => version) // which cannot be flushed
  const outcomes = await Promise.allSettled([log.durable(), log.durable()])
  const unavailable = { status: 'rejected', reason: { code: 'Unavailable' } }
  expect(outcomes).toMatchObject([unavailable, unavailable])
  version += 1
  await expect(log.durable()).rejects.toMatchObject({ code: 'Unavailable' })
  expect(flushes).toBe(1)
  await log.close()
})

test('those who wait while it is closed are served', async () => {
  const log = open()
  const waiting = log.durable()
  while (flushes === 0) await new Promise(setImmediate)
  version += 1
  const later = log.durable()
  await log.close()
  await Promise.all([waiting, later])
})

test('a log is filled up with zeros to a size, and left alone when it is that long already', () => {
  const log = join(folder, 'log')
  growLog(log, 10_000)
  expect(readFileSync(log)).toEqual(Buffer.concat([Buffer.from('x'), Buffer.alloc(9_999)]))
  writeFileSync(log, 'longer')
  growLog(log, 5)
  expect(readFileSync(log, 'utf8')).toBe('longer')
})
