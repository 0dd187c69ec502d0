import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PerfTier } from '../api/index.ts'
import { InvalidInput, silentLogger, Unavailable, type Logger } from '../base/index.ts'
import { EmbeddedStore } from './embedded/index.ts'
import { createInformer } from './informer.ts'
import type { ResourceStore, WatchOptions } from './resource-store.ts'

let folder: string
let store: EmbeddedStore

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-informer-'))
  store = new EmbeddedStore({ file: join(folder, 'store.db'), watchQueueLimit: 50, changeLogLimit: 20 })
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const tier = (name: string): PerfTier => ({ metadata: { name }, spec: {} })

/** The store, but every call fails while `away` says so, and watches can be broken off. */
class FlakyStore {
  away = false
  isDeaf = false
  lists = 0
  breakWatches = new AbortController()

  asStore(): ResourceStore {
    return new Proxy(store, {
      get: (target, property) => {
        if (property === 'list') return this.#list
        if (property === 'watch') return this.#watch
        return Reflect.get(target, property) as unknown
      },
    })
  }

  readonly #list: ResourceStore['list'] = async (kind, options) => {
    this.lists += 1
    if (this.away) throw new Unavailable('away')
    return store.list(kind, options)
  }

  readonly #watch = async function* (this: FlakyStore, kind: typeof PerfTier, options: WatchOptions) {
    if (this.away) throw new Unavailable('away')
    const broken = this.breakWatches.signal
    if (this.isDeaf) await new Promise((resolve) => options.signal!.addEventListener('abort', resolve))
    yield* store.watch(kind, { ...options, signal: AbortSignal.any([options.signal!, broken]) })
    if (broken.aborted) throw new Unavailable('broken off')
  }.bind(this)
}

const quick = { retryDelay: 5, maximumRetryDelay: 20 }

test('tells an outage once, without a trace of calls, and its end', async () => {
  const flaky = new FlakyStore()
  flaky.away = true
  const lines: { message: string; about: object }[] = []
  const note = (about: object, message: string): void => void lines.push({ message, about })
  const logger = { ...silentLogger(), warn: note, notice: note } as Logger
  const informer = createInformer(flaky.asStore(), PerfTier, { ...quick, logger })
  const started = informer.start()
  await expect.poll(() => flaky.lists).toBeGreaterThan(5)
  expect(lines).toEqual([
    {
      message: expect.stringContaining('cannot be followed') as string,
      about: { code: 'Unavailable', problem: 'away', kind: 'PerfTier', seconds: 0 },
    },
  ])
  flaky.away = false
  await started
  expect(lines.slice(1)).toMatchObject([{ message: 'the store can be followed again' }])
  await informer.stop()
})

test('waits for a store that is away', async () => {
  const flaky = new FlakyStore()
  flaky.away = true
  const informer = createInformer(flaky.asStore(), PerfTier, quick)
  let synced = false
  const started = informer.start().then(() => (synced = true))
  await expect.poll(() => flaky.lists).toBeGreaterThan(3)
  expect(synced).toBe(false)
  await store.create(PerfTier, tier('a'))
  flaky.away = false
  await started
  expect(informer.items()).toHaveLength(1)
  await informer.stop()
})

test('goes on without listing again when a watch breaks', async () => {
  const flaky = new FlakyStore()
  const informer = createInformer(flaky.asStore(), PerfTier, quick)
  await informer.start()
  for (const name of ['a', 'b', 'c']) {
    await store.create(PerfTier, tier(name))
    flaky.breakWatches.abort()
    flaky.breakWatches = new AbortController()
    await expect.poll(() => informer.get({ name })).toBeDefined()
  }
  expect(flaky.lists).toBe(1)
  await informer.stop()
})

test('lists again when its version is forgotten, and tells only what differs', async () => {
  const flaky = new FlakyStore()
  const informer = createInformer(flaky.asStore(), PerfTier, quick)
  for (const name of ['stays', 'changes', 'goes', 'is-replaced']) await store.create(PerfTier, tier(name))
  await informer.start()
  const changes: string[] = []
  informer.onChange(({ type, object, previous }) => {
    changes.push(`${type} ${object.metadata.name} ${previous?.metadata.name}`)
  })
  flaky.away = true
  flaky.breakWatches.abort()
  flaky.breakWatches = new AbortController()
  await store.patch(PerfTier, { name: 'changes' }, { spec: { storageIops: 1 } })
  for (const name of ['goes', 'is-replaced']) await store.delete(PerfTier, { name })
  for (const name of ['is-replaced', 'comes']) await store.create(PerfTier, tier(name))
  for (let index = 0; index < 300; index += 1) {
    await store.patch(PerfTier, { name: 'changes' }, { spec: { storageIops: index } })
  }
  flaky.away = false
  await expect.poll(() => informer.get({ name: 'comes' })).toBeDefined()
  expect(flaky.lists).toBe(2)
  expect(changes.sort()).toEqual([
    'ADDED comes undefined',
    'ADDED is-replaced undefined',
    'DELETED goes goes',
    'DELETED is-replaced is-replaced',
    'MODIFIED changes changes',
  ])
  await informer.stop()
})

test('one handler that throws does not keep the others from hearing', async () => {
  const informer = createInformer(store, PerfTier, quick)
  const heard: string[] = []
  informer.onChange(() => {
    throw new Error('of the test')
  })
  const off = informer.onChange(({ object }) => heard.push(object.metadata.name))
  await informer.start()
  await store.create(PerfTier, tier('a'))
  await expect.poll(() => heard).toEqual(['a'])
  off()
  await store.create(PerfTier, tier('b'))
  await expect.poll(() => informer.items()).toHaveLength(2)
  expect(heard).toEqual(['a'])
  await informer.stop()
})

test('stopping early ends the start', async () => {
  const flaky = new FlakyStore()
  flaky.away = true
  const informer = createInformer(flaky.asStore(), PerfTier, quick)
  const started = informer.start()
  await informer.stop()
  await started
})

test('a first list that is refused is asked for again until it is not', async () => {
  let refused = 0
  const refusing: Pick<ResourceStore, 'list' | 'watch'> = {
    list: async (...asked) => {
      if (++refused <= 3) throw new InvalidInput('HTTP 400')
      return store.list(...asked)
    },
    watch: (...asked) => store.watch(...asked),
  }
  await store.create(PerfTier, tier('first'))
  const informer = createInformer(refusing as ResourceStore, PerfTier, quick)
  await informer.start()
  await store.create(PerfTier, tier('later'))
  await expect.poll(() => informer.items().map(({ metadata }) => metadata.name)).toEqual(['first', 'later'])
  await informer.stop()
})

test.each(['list', 'watch'])('a %s that is refused later is asked for again until it is not', async (what) => {
  const lines: string[] = []
  const note = (_about: object, message: string): void => void lines.push(message)
  const logger = { ...silentLogger(), warn: note, notice: note } as Logger
  let isRefusing = false
  let [refused, watches] = [0, 0]
  const refuse = (): void => {
    if (!isRefusing) return
    refused += 1
    throw new InvalidInput('HTTP 400')
  }
  const refusing: Pick<ResourceStore, 'list' | 'watch'> = {
    list: async (...asked) => {
      if (what === 'list') refuse()
      return store.list(...asked)
    },
    watch: (...asked) => {
      if (what === 'watch') refuse()
      watches += 1
      return store.watch(...asked)
    },
  }
  await store.create(PerfTier, tier('goes'))
  const informer = createInformer(refusing as ResourceStore, PerfTier, { ...quick, logger })
  await informer.start()
  isRefusing = true
  const caughtUp = informer.catchUp() // ends the watch
  await store.delete(PerfTier, { name: 'goes' })
  await store.create(PerfTier, tier('comes'))
  await expect.poll(() => refused).toBeGreaterThan(3)
  expect(lines).toEqual(['the store cannot be followed; trying again until it can'])
  isRefusing = false
  await caughtUp
  await expect.poll(() => watches).toBe(2)
  await store.create(PerfTier, tier('later'))
  await expect.poll(() => informer.items().map(({ metadata }) => metadata.name)).toEqual(['comes', 'later'])
  await expect
    .poll(() => lines)
    .toEqual(['the store cannot be followed; trying again until it can', 'the store can be followed again'])
  await informer.stop()
})

test('catches up by a list that begins after it was asked to, and tells only what differs', async () => {
  const flaky = new FlakyStore()
  const informer = createInformer(flaky.asStore(), PerfTier, quick)
  for (const name of ['stays', 'goes']) await store.create(PerfTier, tier(name))
  await informer.start()
  flaky.isDeaf = true // its watches tell nothing from now on, as those of one that is far behind
  flaky.breakWatches.abort()
  flaky.breakWatches = new AbortController()
  const changes: string[] = []
  informer.onChange(({ type, object }) => changes.push(`${type} ${object.metadata.name}`))
  await store.create(PerfTier, tier('comes'))
  await store.delete(PerfTier, { name: 'goes' })
  expect(changes).toEqual([])
  await Promise.all([informer.catchUp(), informer.catchUp()])
  expect(changes.sort()).toEqual(['ADDED comes', 'DELETED goes'])
  expect(flaky.lists).toBe(2)
  await informer.stop()
})

test('a later page that does not come is asked for again, and the list goes on from there', async () => {
  for (let index = 0; index < 1_100; index += 1) await store.create(PerfTier, tier(`t${index}`))
  const tokens: (string | undefined)[] = []
  const list: ResourceStore['list'] = async (kind, options) => {
    tokens.push(options?.continue)
    if (tokens.length === 2 || tokens.length === 4) throw new Unavailable('no answer')
    return store.list(kind, options)
  }
  const failing = { list, watch: store.watch.bind(store) } as unknown as ResourceStore
  const informer = createInformer(failing, PerfTier, quick)
  await informer.start()
  expect(informer.items()).toHaveLength(1_100)
  const [first, second, third] = new Set(tokens)
  expect(tokens).toEqual([first, second, second, third, third])
  expect(first).toBeUndefined()
  await informer.stop()
})

test('one that was not started starts to catch up; stopping ends the wait', async () => {
  const flaky = new FlakyStore()
  await store.create(PerfTier, tier('a'))
  const informer = createInformer(flaky.asStore(), PerfTier, quick)
  await informer.catchUp()
  expect(informer.items()).toHaveLength(1)
  flaky.away = true
  const waiting = informer.catchUp()
  await expect.poll(() => flaky.lists).toBeGreaterThan(2)
  await informer.stop()
  await waiting
})

test("objects are kept without the API server's managedFields, and frozen", async () => {
  const managed = (object: PerfTier): PerfTier => ({ ...object, metadata: { ...object.metadata, managedFields: [{ manager: 'kubectl' }] } as PerfTier['metadata'] }) // prettier-ignore
  const versioned = (name: string): PerfTier => managed({ metadata: { name, uid: name, resourceVersion: '1' }, spec: {} }) // prettier-ignore
  const server = {
    list: () => Promise.resolve({ items: [versioned('a')], resourceVersion: '1' }),
    async *watch() {
      yield { type: 'ADDED', object: versioned('b') }
      yield { type: 'DELETED', object: versioned('b') }
      await new Promise(() => {})
    },
  } as unknown as ResourceStore
  const informer = createInformer(server, PerfTier, quick)
  const told: PerfTier[] = []
  informer.onChange(({ object }) => told.push(object))
  await informer.start()
  await expect.poll(() => told).toHaveLength(3)
  for (const { metadata } of told) {
    expect(Object.keys(metadata)).toEqual(['name', 'uid', 'resourceVersion'])
    expect(Object.isFrozen(metadata)).toBe(true)
  }
})
