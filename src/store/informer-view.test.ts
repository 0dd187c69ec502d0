import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PerfTier } from '../api/index.ts'
import { EmbeddedStore } from './embedded/index.ts'
import { createInformer, type Informer } from './informer.ts'
import { InformerView } from './informer-view.ts'

let folder: string
let store: EmbeddedStore
let source: Informer<PerfTier>

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-informer-view-'))
  store = new EmbeddedStore({ file: join(folder, 'store.db') })
  source = createInformer(store, PerfTier)
})

afterEach(async () => {
  await source.stop()
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const create = (name: string): Promise<PerfTier> => store.create(PerfTier, { metadata: { name }, spec: {} })

test('a view that starts late tells everything, what was written a moment ago too, and goes on', async () => {
  await create('a')
  await source.start()
  const view = new InformerView(source, PerfTier)
  const told: string[] = []
  view.onChange(({ type, object }) => told.push(`${type} ${object.metadata.name}`))
  void create('b')
  await view.start()
  expect(told.sort()).toEqual(['ADDED a', 'ADDED b'])
  expect(view.get({ name: 'b' })).toBe(source.get({ name: 'b' }))
  await store.delete(PerfTier, { name: 'a' })
  await expect.poll(() => told).toContain('DELETED a')
  expect(view.items()).toHaveLength(1)
})

test('a view that stops hears no more, and the others go on', async () => {
  const [one, other] = [new InformerView(source, PerfTier), new InformerView(source, PerfTier)]
  const told = { one: 0, other: 0 }
  one.onChange(() => void (told.one += 1))
  other.onChange(() => {
    told.other += 1
    throw new Error('of the test')
  })
  await Promise.all([one.start(), other.start()])
  await one.stop()
  await create('a')
  await expect.poll(() => told).toEqual({ one: 0, other: 1 })
})

test('stopping ends the start of a view whose store is away', async () => {
  const away = createInformer({ ...store, list: () => new Promise(() => {}) } as never, PerfTier)
  const view = new InformerView(away, PerfTier)
  const started = view.start()
  await view.stop()
  await started
})
