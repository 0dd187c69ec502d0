import { mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Endpoint, Network, PerfTier } from '../../api/index.ts'
import { Exhausted, InvalidInput } from '../../base/index.ts'
import type { AdmissionRequest, SyncReader } from '../admission.ts'
import type { WatchEvent, WatchOptions } from '../resource-store.ts'
import { backupStore, restoreStore } from './backup.ts'
import { EmbeddedStore, type EmbeddedStoreOptions } from './embedded-store.ts'

let folder: string
let file: string
const opened: EmbeddedStore[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-embedded-'))
  file = join(folder, 'store.db')
})

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
  rmSync(folder, { recursive: true, force: true })
})

function open(options: Partial<EmbeddedStoreOptions> = {}): EmbeddedStore {
  const store = new EmbeddedStore({ file, ...options })
  opened.push(store)
  return store
}

const tier = (name: string, labels: Record<string, string> = {}): PerfTier => ({ metadata: { name, labels }, spec: {} })

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'succeeded',
    (error: { code?: string }) => error.code,
  )

/** Takes events until `count` have come. */
async function take(store: EmbeddedStore, options: WatchOptions, count: number): Promise<WatchEvent<PerfTier>[]> {
  const events: WatchEvent<PerfTier>[] = []
  for await (const event of store.watch(PerfTier, options)) if (events.push(event) === count) break
  return events
}

const named = (events: WatchEvent<PerfTier>[]): string[] =>
  events.map((event) => (event.type === 'BOOKMARK' ? event.type : `${event.type} ${event.object.metadata.name}`))

describe('admission', () => {
  test('sees creates, updates, patches and deletes with what was there before, but no status writes', async () => {
    const seen: string[] = []
    const admit = ({ verb, kind, object, existing }: AdmissionRequest, reader: SyncReader): void => {
      seen.push(
        `${verb} ${kind.kind} ${object.metadata.name} ${existing?.metadata.generation} ${reader.list(Network).length}`,
      )
    }
    const store = open({ admit })
    const spec: Network['spec'] = { subnets: [{ cidr: '10.0.0.0/24', ranges: [] }], plane: 'pods', isDefault: false }
    const made = await store.create(Network, {
      metadata: { name: 'blue' },
      spec,
    })
    await store.update(Network, { ...made, spec: { ...made.spec, vlan: 5 } })
    await store.patch(Network, { name: 'blue' }, { spec: { vlan: 6 } })
    await store.patch(
      Network,
      { name: 'blue' },
      { status: { usage: { total: 1, used: 1 } } },
      { subresource: 'status' },
    )
    await store.delete(Network, { name: 'blue' })
    expect(seen).toEqual([
      'create Network blue undefined 0',
      'update Network blue 1 1',
      'update Network blue 2 1',
      'delete Network blue 3 1',
    ])
  })

  test('a refusal leaves nothing behind: no object, no version, no event, also after opening again', async () => {
    const store = open({
      admit: ({ object }) => {
        if (object.metadata.name === 'no') throw new Exhausted('full')
      },
    })
    const before = store.resourceVersion
    expect(await failure(store.create(PerfTier, tier('no')))).toBe('Exhausted')
    expect(store.resourceVersion).toBe(before)
    await store.create(PerfTier, tier('yes'))
    expect(named(await take(store, { resourceVersion: before }, 1))).toEqual(['ADDED yes'])
    await store.close()
    expect((await open().list(PerfTier)).items.map(({ metadata }) => metadata.name)).toEqual(['yes'])
  })

  test('cannot change what it is shown of the store', async () => {
    const store = open({
      admit: (_request, reader) => {
        for (const item of reader.list(PerfTier)) item.spec.storageIops = 1
      },
    })
    await store.create(PerfTier, tier('a'))
    await expect(store.create(PerfTier, tier('b'))).rejects.toThrow(TypeError)
    expect((await store.list(PerfTier)).items).toHaveLength(1)
  })
})

describe('watch', () => {
  test('goes on after a restart from a version of before', async () => {
    const first = open()
    const { resourceVersion } = (await first.create(PerfTier, tier('a'))).metadata
    await first.create(PerfTier, tier('b'))
    await first.close()
    const second = open()
    await second.create(PerfTier, tier('c'))
    expect(named(await take(second, { resourceVersion }, 2))).toEqual(['ADDED b', 'ADDED c'])
    const { resourceVersion: latest } = await second.list(PerfTier)
    await second.delete(PerfTier, { name: 'a' })
    expect(named(await take(second, { resourceVersion: latest }, 1))).toEqual(['DELETED a'])
  })

  test('is Expired for versions that are forgotten, were never given out or are still to come', async () => {
    const store = open({ changeLogLimit: 10 })
    const { resourceVersion } = (await store.create(PerfTier, tier('a'))).metadata
    for (let index = 0; index < 600; index += 1) await store.create(PerfTier, tier(`t${index}`))
    const wait = (version: string): Promise<unknown> => failure(take(store, { resourceVersion: version }, 1))
    expect(await wait(resourceVersion!)).toBe('Expired')
    expect(await wait(String(Number(store.resourceVersion) + 1))).toBe('Expired')
    expect(await wait('5')).toBe('Expired')
    expect(await wait('x')).toBe('InvalidInput')
    const lastButOne = String(Number(store.resourceVersion) - 1)
    expect(named(await take(store, { resourceVersion: lastButOne }, 1))).toEqual(['ADDED t599'])
  })

  test('never gives a version twice, whatever a power failure took back', async () => {
    const store = open()
    await store.create(PerfTier, tier('a'))
    const copy = join(folder, 'earlier.db')
    backupStore(file, copy)
    const lost = await store.create(PerfTier, tier('b'))
    await store.close()
    const earlier = open({ file: copy })
    const made = await earlier.create(PerfTier, tier('c'))
    expect(Number(made.metadata.resourceVersion)).toBeGreaterThan(Number(lost.metadata.resourceVersion))
    const { resourceVersion } = lost.metadata
    expect(await failure(take(earlier, { resourceVersion }, 1))).toBe('Expired')
  })

  test('sends bookmarks from which it can go on', async () => {
    const store = open({ bookmarkInterval: 20 })
    await store.create(PerfTier, tier('a'))
    const [first, , bookmark] = await take(store, { allowBookmarks: true }, 3)
    expect(first!.type).toBe('ADDED')
    expect(bookmark!.type).toBe('BOOKMARK')
    const { resourceVersion } = bookmark as { resourceVersion: string }
    await store.create(PerfTier, tier('b'))
    expect(named(await take(store, { resourceVersion }, 1))).toEqual(['ADDED b'])
  })

  test('of somebody who does not read is ended instead of growing', async () => {
    const store = open({ watchQueueLimit: 5 })
    const events = store.watch(PerfTier, {})
    const first = events.next()
    for (let index = 0; index < 20; index += 1) await store.create(PerfTier, tier(`t${index}`))
    await first
    const rest = (async () => {
      for await (const _event of events);
    })()
    expect(await failure(rest)).toBe('Expired')
    expect(store.watchCount).toBe(0)
  })

  test('shows live and replayed the same events, whatever happened', async () => {
    const operation = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      what: fc.constantFrom('create', 'label', 'unlabel', 'spec', 'delete'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        const store = new EmbeddedStore({ file: join(mkdtempSync(join(folder, 'run-')), 'store.db') })
        const { resourceVersion } = await store.list(PerfTier)
        const options = { labelSelector: 'mine=yes', resourceVersion }
        const stop = new AbortController()
        const live: string[] = []
        const following = (async () => {
          for await (const event of store.watch(PerfTier, { ...options, signal: stop.signal })) {
            live.push(JSON.stringify(event))
          }
        })()
        for (const [index, { name, what }] of operations.entries()) {
          const steps: Record<string, () => Promise<unknown>> = {
            create: () => store.create(PerfTier, tier(name, index % 2 ? { mine: 'yes' } : {})),
            label: () => store.patch(PerfTier, { name }, { metadata: { labels: { mine: 'yes' } } }),
            unlabel: () => store.patch(PerfTier, { name }, { metadata: { labels: { mine: null } } }),
            spec: () => store.patch(PerfTier, { name }, { spec: { storageIops: index } }),
            delete: () => store.delete(PerfTier, { name }),
          }
          await steps[what]!().catch(() => {})
        }
        await new Promise((resolve) => setImmediate(resolve))
        stop.abort()
        await following
        const replayed = live.length === 0 ? [] : await take(store, options, live.length)
        expect(replayed.map((event) => JSON.stringify(event))).toEqual(live)
        await store.close()
      }),
      { numRuns: 60 },
    )
  })
})

describe('objects', () => {
  test('have one version counter over all kinds', async () => {
    const store = open()
    const versions: number[] = []
    for (const name of ['a', 'b']) {
      versions.push(Number((await store.create(PerfTier, tier(name))).metadata.resourceVersion))
      const endpoint = { metadata: { name, namespace: 'x' }, spec: { networkName: 'n', isStatic: false } }
      versions.push(Number((await store.create(Endpoint, endpoint)).metadata.resourceVersion))
    }
    expect(versions).toEqual(versions.map((_, index) => versions[0]! + index))
  })

  test('may not be created with a version, in the wrong scope or with labels that no selector can name', async () => {
    const store = open()
    const create = (metadata: PerfTier['metadata']): Promise<unknown> =>
      failure(store.create(PerfTier, { metadata, spec: {} }))
    expect(await create({ name: 'a', resourceVersion: '1' })).toBe('InvalidInput')
    expect(await create({ name: 'a', namespace: 'x' })).toBe('InvalidInput')
    expect(await create({ name: 'a', labels: { 'a b': 'c' } })).toBe('InvalidInput')
    expect(await create({} as never)).toBe('InvalidInput')
    expect(await failure(store.create(PerfTier, null as never))).toBe('InvalidInput')
    expect(await failure(store.update(PerfTier, 'text' as never))).toBe('InvalidInput')
    const draft = { metadata: { name: 'a' }, spec: { networkName: 'n', isStatic: false } }
    expect(await failure(store.create(Endpoint, draft))).toBe('InvalidInput')
  })

  test('cannot be renamed, forged or grown without bound by a patch', async () => {
    const store = open()
    const made = await store.create(PerfTier, tier('a'))
    const patch = (value: object): Promise<unknown> => failure(store.patch(PerfTier, { name: 'a' }, value))
    expect(await patch({ metadata: { name: 'b' } })).toBe('InvalidInput')
    expect(await patch({ metadata: { namespace: 'b' } })).toBe('InvalidInput')
    expect(await patch({ metadata: null })).toBe('InvalidInput')
    expect(await patch({ kind: 'Other' })).toBe('InvalidInput')
    expect(await patch({ metadata: { annotations: { big: 'x'.repeat(1_600_000) } } })).toBe('InvalidInput')
    expect(await patch([])).toBe('InvalidInput')
    const forged = {
      generation: 99,
      creationTimestamp: '1999-01-01T00:00:00Z',
      deletionTimestamp: '1999-01-01T00:00:00Z',
    }
    expect(await patch({ metadata: forged })).toBe('succeeded')
    expect(await store.get(PerfTier, { name: 'a' })).toEqual(made)
  })

  test('pages of a list expire and are bound to their query', async () => {
    const store = open()
    for (const name of ['a', 'b', 'c']) await store.create(PerfTier, tier(name))
    const page = await store.list(PerfTier, { limit: 1 })
    expect(page).toMatchObject({ remainingItemCount: 2, continue: expect.any(String) })
    const other = store.list(PerfTier, { limit: 1, labelSelector: 'a=b', continue: page.continue })
    expect(await failure(other)).toBe('Expired')
    expect(await failure(store.list(PerfTier, { continue: 'forged' }))).toBe('Expired')
    expect(await failure(store.list(PerfTier, { limit: -1 }))).toBe('InvalidInput')
    for (let index = 0; index < 150; index += 1) await store.list(PerfTier, { limit: 1 })
    expect(await failure(store.list(PerfTier, { limit: 1, continue: page.continue }))).toBe('Expired')
  })
})

describe('the file', () => {
  test('belongs to one store at a time', async () => {
    const store = open()
    expect(() => open()).toThrow(expect.objectContaining({ code: 'Conflict' }))
    await store.close()
    expect(await failure(store.list(PerfTier))).toBe('Unavailable')
    open()
  })

  test.each([
    ['text', (path: string) => writeFileSync(path, 'this is not a database, it is far too short and is text')],
    ['cut short', (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 9000))],
    ['overwritten in the middle', (path: string) => overwrite(path, 4096 * 2, Buffer.alloc(4096, 0xab))],
  ])('is not opened when it is damaged: %s', async (_what, damage) => {
    const store = open()
    for (let index = 0; index < 50; index += 1) await store.create(PerfTier, tier(`t${index}`))
    await store.close()
    damage(file)
    const size = statSync(file).size
    expect(() => open()).toThrow(
      expect.objectContaining({ code: 'Internal', message: expect.stringContaining('damaged') }),
    )
    expect(statSync(file).size).toBe(size)
  })

  test('is not opened when it is of another program or another format', async () => {
    const foreign = new DatabaseSync(file)
    foreign.exec('CREATE TABLE other (a)')
    foreign.close()
    expect(() => open()).toThrow(InvalidInput)
    rmSync(file)
    await open().close()
    const newer = new DatabaseSync(file)
    newer.exec('PRAGMA user_version = 99')
    newer.close()
    expect(() => open()).toThrow(/format 99/)
  })

  test('can be backed up while it is in use, and restored', async () => {
    const store = open()
    for (let index = 0; index < 300; index += 1) await store.create(PerfTier, tier(`t${index}`))
    const copy = join(folder, 'copy.db')
    backupStore(file, copy)
    expect(() => backupStore(file, copy)).toThrow(expect.objectContaining({ code: 'Conflict' }))
    expect(() => restoreStore(copy, file)).toThrow(expect.objectContaining({ code: 'Conflict' }))
    const { resourceVersion } = (await store.create(PerfTier, tier('after-the-backup'))).metadata
    await store.close()
    const kept = restoreStore(copy, file)
    const restored = open()
    expect(restored.count(PerfTier)).toBe(300)
    expect(Number(restored.resourceVersion)).toBeGreaterThan(Number(resourceVersion) + 1e9)
    expect(await failure(take(restored, { resourceVersion }, 1))).toBe('Expired')
    expect(open({ file: kept! }).count(PerfTier)).toBe(301)
  })

  test('is left alone when the backup to restore is damaged', async () => {
    const store = open()
    await store.create(PerfTier, tier('a'))
    await store.close()
    const wrong = join(folder, 'wrong.db')
    writeFileSync(wrong, 'x'.repeat(10_000))
    expect(() => restoreStore(wrong, file)).toThrow(expect.objectContaining({ code: 'Internal' }))
    expect(open().count(PerfTier)).toBe(1)
  })
})

function overwrite(path: string, position: number, bytes: Buffer): void {
  const descriptor = openSync(path, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, position)
}
