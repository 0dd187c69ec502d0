import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Event } from '../api/index.ts'
import { EmbeddedStore } from './embedded/index.ts'
import { EventRecorder, type EventNotice } from './event-recorder.ts'

let folder: string
let store: EmbeddedStore
let recorder: EventRecorder

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-recorder-'))
  store = new EmbeddedStore({ file: join(folder, 'store.db') })
  recorder = new EventRecorder(store, { controller: 'carbonado.io/test', instance: 'n1' })
})

afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const notice = (changes: Partial<EventNotice> = {}): EventNotice => ({
  regarding: { kind: 'Endpoint', namespace: 'shop', name: 'web-0' },
  type: 'Warning',
  reason: 'AddressesExhausted',
  action: 'Allocate',
  note: 'network blue is full',
  ...changes,
})

test('writes an event beside its object; without a namespace it is in default', async () => {
  recorder.record(notice())
  recorder.record(notice({ regarding: { kind: 'Network', name: 'Blue_Net' } }))
  await recorder.flush()
  const { items } = await store.list(Event)
  expect(items.map(({ metadata }) => metadata.namespace).sort()).toEqual(['default', 'shop'])
  expect(items.find(({ metadata }) => metadata.namespace === 'shop')).toMatchObject({
    reason: 'AddressesExhausted',
    reportingController: 'carbonado.io/test',
    reportingInstance: 'n1',
    eventTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
  })
})

test('makes a series of the same notice, and another event of another one', async () => {
  for (let index = 0; index < 5; index += 1) recorder.record(notice())
  recorder.record(notice({ note: 'network green is full' }))
  await recorder.flush()
  const { items } = await store.list(Event)
  expect(items.map(({ series }) => series?.count).sort()).toEqual([5, undefined])
})

test('starts anew when the first event is gone', async () => {
  recorder.record(notice())
  await recorder.flush()
  const [first] = (await store.list(Event)).items
  await store.delete(Event, first!.metadata)
  recorder.record(notice())
  await recorder.flush()
  expect((await store.list(Event)).items).toHaveLength(1)
})

test('cuts long notes, and neither a wrong notice nor a closed store makes it throw', async () => {
  recorder.record(notice({ note: 'x'.repeat(5000) }))
  recorder.record(notice({ type: 'Wrong' as never }))
  await recorder.flush()
  expect((await store.list(Event)).items.map(({ note }) => note.length)).toEqual([1024])
  await store.close()
  for (let index = 0; index < 3000; index += 1) recorder.record(notice())
  await recorder.flush()
})
