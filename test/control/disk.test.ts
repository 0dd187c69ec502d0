import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { PerfTier } from '../../src/api/index.ts'
import { CarbonadoError } from '../../src/base/index.ts'
import { growLog } from '../../src/store/embedded/log-flush.ts'
import { EmbeddedStore, type RestStore } from '../../src/store/index.ts'
import { makeControlFiles, type ControlFiles } from '../support/control-files.ts'
import { runControl, startControlProcess, type ControlProcess } from '../support/control-process.ts'
import { LoopFilesystem } from '../support/loop-filesystem.ts'
import { enterOwnNamespaces } from '../support/own-namespaces.ts'

let disk: LoopFilesystem
let files: ControlFiles
let control: ControlProcess
const clients: RestStore[] = []

beforeAll(() => enterOwnNamespaces())
beforeEach(async () => {
  disk = new LoopFilesystem()
  files = await makeControlFiles({ dataDirectory: join(disk.path, 'data') })
  control = await startControlProcess(files)
})
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close()
  await control.end('SIGKILL')
  files[Symbol.dispose]()
  disk[Symbol.dispose]()
})

function connect(): RestStore {
  const client = control.client()
  clients.push(client)
  return client
}

/** A tier of about 8 KB. */
const tier = (name: string): PerfTier => ({ metadata: { name, annotations: { a: name.repeat(1000) } }, spec: {} })

async function names(client: RestStore): Promise<string[]> {
  return (await client.list(PerfTier)).items.map(({ metadata }) => metadata.name)
}

/** What became of tiers that were created until there was no room for any: the smallest may fit a little longer. */
interface Creations {
  acknowledged: string[]
  refused: string[]
  refusal: CarbonadoError
}

/** Creates tiers until twenty are refused one after the other. */
async function createUntilRefused(client: RestStore): Promise<Creations> {
  const acknowledged: string[] = []
  const refused: string[] = []
  for (let refusalsInARow = 0; ;) {
    const name = `tier-${acknowledged.length + refused.length}`
    try {
      await client.create(PerfTier, tier(name))
      acknowledged.push(name)
      refusalsInARow = 0
    } catch (error) {
      expect(error).toMatchObject({ code: 'Unavailable' })
      refused.push(name)
      if (++refusalsInARow === 20) return { acknowledged, refused, refusal: error as CarbonadoError }
    }
  }
}

describe('a full disk', () => {
  test('refuses writes and says why, leaves reads and watches alone, and is over when there is space', async () => {
    const client = connect()
    const seen: string[] = []
    const watching = (async () => {
      for await (const event of connect().watch(PerfTier)) if (event.type === 'ADDED') seen.push(event.object.metadata.name)
    })().catch(() => {}) // prettier-ignore
    disk.fill()
    const { refusal, acknowledged, refused } = await createUntilRefused(client)
    expect(refusal).toMatchObject({ code: 'Unavailable', message: expect.stringContaining('full') as string })
    expect(refusal.details.reason).toBe('InsufficientStorage')
    expect(refusal.remedy).toMatch(/space/)
    expect(await names(client)).toEqual(expect.arrayContaining(acknowledged))
    expect(await names(client)).not.toEqual(expect.arrayContaining([expect.toBeOneOf(refused)]))
    disk.makeSpace()
    await client.create(PerfTier, tier('afterwards'))
    await expect.poll(() => seen).toEqual(expect.arrayContaining([...acknowledged, 'afterwards']))
    expect(seen).not.toEqual(expect.arrayContaining([expect.toBeOneOf(refused)]))
    await control.end('SIGKILL')
    control = await startControlProcess(files)
    expect(await names(connect())).toEqual(expect.arrayContaining([...acknowledged, 'afterwards']))
    await watching
  })

  test('that fills while the log is brought into the file loses nothing and stops nothing for good', async () => {
    const client = connect()
    const kept: string[] = []
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 120; index++) {
        if (index === 60) disk.fill()
        const name = `round-${round}-${index}`
        const created = await client.create(PerfTier, tier(name)).catch(() => undefined)
        if (created) kept.push(name)
      }
      disk.makeSpace()
      await client.create(PerfTier, tier(`end-${round}`))
      for (const name of kept.splice(0, 80)) await client.delete(PerfTier, { name })
    }
    expect(await names(client)).toEqual(expect.arrayContaining([...kept, 'end-2']))
    await control.end('SIGKILL')
    control = await startControlProcess(files)
    expect((await names(connect())).filter((name) => name.startsWith('round')).sort()).toEqual(kept.sort())
  })

  test('leaves a log as it was that it has no room to be filled up on', () => {
    const log = join(files.config.dataDirectory, 'log')
    writeFileSync(log, 'x')
    disk.fill()
    growLog(log, 4 * 2 ** 20)
    expect(readFileSync(log, 'utf8')).toBe('x')
    disk.makeSpace()
    growLog(log, 4 * 2 ** 20)
    expect(readFileSync(log)).toHaveLength(4 * 2 ** 20)
    rmSync(log)
  })

  test('at the start is told with its remedy, and nothing is lost', async () => {
    await connect().create(PerfTier, tier('kept'))
    await control.end('SIGTERM')
    disk.fill()
    const { code, said } = await runControl(files)
    expect(code).toBe(1)
    expect(said).toMatch(/full.*space/s)
    disk.makeSpace()
    control = await startControlProcess(files)
    expect(await names(connect())).toContain('kept')
  })
})

describe('a disk that has become read-only', () => {
  test('refuses writes, leaves reads alone, and has everything that was acknowledged when it is mounted again', async () => {
    const client = connect()
    for (let index = 0; index < 20; index++) await client.create(PerfTier, tier(`kept-${index}`))
    disk.abort()
    const refusals = await Promise.allSettled(Array.from({ length: 5 }, (_, index) => client.create(PerfTier, tier(`no-${index}`)))) // prettier-ignore
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({
        reason: { code: 'Unavailable', remedy: expect.stringMatching(/disk/) as string },
      })
    }
    const kept = Array.from({ length: 20 }, (_, index) => `kept-${index}`)
    expect(await names(client)).toEqual(expect.arrayContaining(kept))
    expect((await names(client)).filter((name) => name.startsWith('no'))).toEqual([])
    await control.end('SIGKILL')
    const { code, said } = await runControl(files)
    expect(code).toBe(1)
    expect(said).toMatch(/remedy.*disk under dataDirectory/s)
    expect(said).not.toMatch(/damaged|in use/)
    disk.unmount()
    disk.mount()
    control = await startControlProcess(files)
    expect(await names(connect())).toEqual(expect.arrayContaining(kept))
  })
})

test('a store whose disk refuses to flush goes back to what the disk has, and can be read', async () => {
  const store = new EmbeddedStore({ file: join(disk.path, 'store.db') })
  await store.create(PerfTier, tier('flushed'))
  await store.create(PerfTier, tier('removed'))
  await store.durable()
  const { resourceVersion } = await store.list(PerfTier)
  await store.create(PerfTier, tier('late'))
  await store.patch(PerfTier, { name: 'flushed' }, { spec: { storageIops: 5 } })
  await store.delete(PerfTier, { name: 'removed' })
  disk.abort()
  await expect(store.durable()).rejects.toMatchObject({ code: 'Unavailable' })
  expect(store.isFrozen).toBe(true)
  const { items, resourceVersion: now } = await store.list(PerfTier)
  expect(items.map(({ metadata, spec }) => [metadata.name, spec.storageIops])).toEqual([['flushed', undefined], ['removed', undefined]]) // prettier-ignore
  expect(now).toBe(resourceVersion)
  await expect(store.create(PerfTier, tier('no'))).rejects.toMatchObject({ code: 'Unavailable', remedy: expect.stringContaining('restart') as string }) // prettier-ignore
  const events: string[] = []
  const signal = AbortSignal.timeout(100)
  for await (const event of store.watch(PerfTier, { resourceVersion, signal })) events.push(event.type)
  expect(events).toEqual([])
  await store.close().catch(() => {})
})

describe('a damaged store', () => {
  test('is not opened and not begun anew; restoring a backup is said, and helps', async () => {
    const client = connect()
    for (let index = 0; index < 50; index++) await client.create(PerfTier, tier(`kept-${index}`))
    const backup = join(files.folder, 'backup.db')
    expect(await runControl(files, 'backup', backup)).toMatchObject({ code: 0 })
    await clients.pop()!.close() // control waits some seconds for connections that are open
    await control.end('SIGTERM')
    const file = join(files.config.dataDirectory, 'store.db')
    const bytes = readFileSync(file)
    bytes[bytes.indexOf('kept-33kept-33') + 50]! ^= 1
    writeFileSync(file, bytes)
    const { code, said } = await runControl(files)
    expect(code).toBe(1)
    expect(said).toMatch(/damaged/)
    expect(said).toMatch(/control restore/)
    expect(readFileSync(file).equals(bytes)).toBe(true)
    expect(await runControl(files, 'restore', backup)).toMatchObject({ code: 0 })
    control = await startControlProcess(files)
    expect(await names(connect())).toHaveLength(50 + builtIn)
  })

  test('in its log neither', async () => {
    const client = connect()
    for (let index = 0; index < 50; index++) await client.create(PerfTier, tier(`kept-${index}`))
    await control.end('SIGKILL')
    const log = join(files.config.dataDirectory, 'store.db-wal')
    const bytes = readFileSync(log)
    bytes[bytes.indexOf('kept-33kept-33') + 50]! ^= 1
    writeFileSync(log, bytes)
    const { code, said } = await runControl(files)
    expect(code).toBe(1)
    expect(said).toMatch(/damaged.*frames/s)
  })
})

/** Tiers that control makes itself. */
const builtIn = 3

describe('a power failure', () => {
  /** Cuts the power at some moments under writes; returns how many acknowledged tiers the disk lacks each time. */
  async function missingAfterCuts(cuts: number): Promise<number[]> {
    const client = connect()
    const acknowledged: string[] = []
    let isOver = false
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let index = 0; !isOver; index++) {
        const { metadata } = await client.create(PerfTier, { metadata: { name: `w${writer}-${index}` }, spec: {} })
        acknowledged.push(metadata.name)
      }
    })
    const copies: { image: string; promised: string[] }[] = []
    for (let cut = 0; cut < cuts; cut++) {
      const before = acknowledged.length
      while (acknowledged.length < before + 20) await delay(5)
      await delay(Math.random() * 50)
      control.child.kill('SIGSTOP')
      await delay(30) // what was answered has arrived
      copies.push({ promised: [...acknowledged], image: disk.copyImage() })
      control.child.kill('SIGCONT')
    }
    isOver = true
    await Promise.all(writers)
    return Promise.all(copies.map(missingFrom))
  }

  async function missingFrom({ image, promised }: { image: string; promised: string[] }): Promise<number> {
    using copy = new LoopFilesystem({ image })
    const store = new EmbeddedStore({ file: join(copy.path, 'data', 'store.db') })
    const stored = new Set((await store.list(PerfTier)).items.map(({ metadata }) => metadata.name))
    await store.close()
    return promised.filter((name) => !stored.has(name)).length
  }

  test('takes back nothing that was acknowledged', async () => {
    expect(await missingAfterCuts(8)).toEqual(Array.from({ length: 8 }, () => 0))
  })

  test('would, were writes not flushed: the test can tell', async () => {
    await control.end('SIGKILL')
    const settings = JSON.parse(readFileSync(files.configFile, 'utf8')) as object
    writeFileSync(files.configFile, JSON.stringify({ ...settings, syncEveryWrite: false }))
    control = await startControlProcess(files)
    expect(Math.max(...(await missingAfterCuts(3)))).toBeGreaterThan(0)
  })
})
