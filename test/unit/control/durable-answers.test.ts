import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PerfTier } from '../../../src/api/index.ts'
import { silentLogger, Unavailable } from '../../../src/base/index.ts'
import { checkConfig } from '../../../src/control/config.ts'
import { makeHttpApp } from '../../../src/control/http-app.ts'
import { IssuedTokens } from '../../../src/control/issued-tokens.ts'
import { NodeProxy } from '../../../src/control/node-proxy.ts'
import { readTokens } from '../../../src/control/tokens.ts'
import { WatchServer } from '../../../src/control/watch-server.ts'
import { EmbeddedStore, RestStore } from '../../../src/store/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../../support/control-files.ts'

/** A store on a disk that flushes when it is told to. */
class SlowDisk extends EmbeddedStore {
  #disk = Promise.withResolvers<void>()

  override async durable(resourceVersion?: string): Promise<void> {
    await this.#disk.promise
    await super.durable(resourceVersion)
  }

  flush(): void {
    this.#disk.resolve()
  }

  breakDown(): void {
    this.#disk.promise.catch(() => {}) // not all who wait are there yet
    this.#disk.reject(new Unavailable('the disk is broken'))
  }
}

const tier: PerfTier = { metadata: { name: 'a' }, spec: {} }
let folder: string
let files: ControlFiles
let store: SlowDisk
let client: RestStore
let stop: () => Promise<void>

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-durable-'))
  files = await makeControlFiles()
  store = new SlowDisk({ file: join(folder, 'store.db') })
  const watches = new WatchServer(store, silentLogger())
  const proxy = new NodeProxy(store, checkConfig(files.config, 'of the test'))
  const tokens = readTokens(files.config.tokensFile)
  const app = makeHttpApp({
    ...{ store, watches, proxy, fileTokens: () => tokens, isReady: () => true, controllers: [] },
    issuedTokens: new IssuedTokens(join(folder, 'tokens.json')),
    ...{ logger: silentLogger(), bodyLimit: 1_000_000 },
  })
  const server = await app.listen({ host: '127.0.0.1', port: 0 })
  client = new RestStore({ server, token: testTokens.admin })
  stop = async () => {
    await client.close()
    watches.endAll()
    await app.close()
    await store.close()
  }
})

afterEach(async () => {
  store.flush()
  await stop()
  rmSync(folder, { recursive: true })
  files[Symbol.dispose]()
})

async function nextEvent(): Promise<string> {
  for await (const event of client.watch(PerfTier)) return event.type
  return 'none'
}

const asked: [string, () => Promise<unknown>, unknown][] = [
  ['a write', () => client.create(PerfTier, { ...tier, metadata: { name: 'b' } }), { metadata: { name: 'b' } }],
  ['a read', () => client.get(PerfTier, { name: 'a' }), { metadata: { name: 'a' } }],
  ['a list', () => client.list(PerfTier), { items: [{ metadata: { name: 'a' } }] }],
  ['a watch', nextEvent, 'ADDED'],
]

test.each(asked)('%s is not answered before the disk has what the answer tells', async (_what, ask, expected) => {
  await store.create(PerfTier, tier)
  let answer: unknown
  const answered = ask().then((value) => (answer = value))
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(answer).toBeUndefined()
  store.flush()
  const value = await answered
  if (typeof expected === 'string') expect(value).toBe(expected)
  else expect(value).toMatchObject(expected as object)
})

test.each(asked)('%s is Unavailable when the disk is broken', async (_what, ask) => {
  await store.create(PerfTier, tier)
  store.breakDown()
  await expect(ask()).rejects.toMatchObject({ code: 'Unavailable' })
})

test('who asks for an early answer is told what will be answered before the disk has it, and no more than that', async () => {
  const { promise: early, resolve: onEarlyAnswer } = Promise.withResolvers<PerfTier>()
  let answer: unknown
  const created = client.create(PerfTier, tier, { onEarlyAnswer }).then((value) => (answer = value))
  const likely = await early
  expect(likely.metadata.uid).toBeDefined()
  expect(answer).toBeUndefined()
  store.flush()
  expect(await created).toEqual(likely)
})

test('an early answer does not make up for a broken disk', async () => {
  const { promise: early, resolve: onEarlyAnswer } = Promise.withResolvers<PerfTier>()
  const created = client.create(PerfTier, tier, { onEarlyAnswer })
  created.catch(() => {})
  await early
  store.breakDown()
  await expect(created).rejects.toMatchObject({ code: 'Unavailable' })
})

test('an object that is too large for a header has no early answer', async () => {
  store.flush()
  const annotations = { note: 'x'.repeat(20_000) }
  const told: unknown[] = []
  const made = await client.create(PerfTier, { ...tier, metadata: { name: 'large', annotations } }, { onEarlyAnswer: (likely) => told.push(likely) })
  expect(made.metadata.name).toBe('large')
  expect(told).toEqual([])
}) // prettier-ignore
