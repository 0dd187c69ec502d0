import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Drive, Volume } from '../api/index.ts'
import { FakePool } from './fake-pool.ts'
import { eventually, StorageFixture } from './storage-fixture.ts'

const mebibyte = 2 ** 20
const held = 16 * mebibyte
const name = 'n1.drive0'

let fixture: StorageFixture
beforeEach(async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.availableVolume('a', { size: '16Mi' })
  await fill('a', 'old')
  await fixture.snapshot('s', 'a')
  await fill('a', 'new') // and the snapshot holds what was there before
  await fixture.availableVolume('b', { size: '16Mi' })
  await fill('b', 'any')
  await fixture.restartAgent('n1')
  await eventually(async () => ((await heldNow()) === held ? true : undefined), 'what is held to be measured')
})
afterEach(async () => {
  vi.restoreAllMocks()
  await fixture[Symbol.asyncDispose]()
})

async function fill(volume: string, text: string): Promise<void> {
  const uid = await fixture.plexUid(volume)
  for (let block = 0; block < 16 * 16; block += 1) fixture.pool('n1').write(uid, block, text)
}

const heldNow = async (): Promise<number> => (await fixture.store.get(Drive, { name })).status!.agent!.pool!.held

/** Lets something happen right after the next reading of what volumes own; resolves when it has, with when it began. */
function afterNextReading(happen: () => Promise<void>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const usages = vi.spyOn(FakePool.prototype, 'usages')
  usages.mockImplementationOnce(async function (this: FakePool) {
    usages.mockRestore()
    const read = await this.usages()
    const since = new Date().toISOString()
    await happen().then(() => resolve(since), reject)
    return read
  })
  return promise
}

/** Everything that is told to be held from now on, until the drive was measured anew after `happened`. */
async function heldUntilMeasured(happened: Promise<string>): Promise<Set<number>> {
  const told = new Set<number>()
  const abort = new AbortController()
  const watching = (async () => {
    const { resourceVersion } = await fixture.store.list(Drive)
    for await (const event of fixture.store.watch(Drive, { resourceVersion, signal: abort.signal }))
      if (event.type === 'MODIFIED') told.add(event.object.status!.agent!.pool!.held)
  })()
  const another = fixture.availableVolume('c', { size: '1Mi' }) // has the pool measured
  const since = await happened
  await eventually(async () => {
    const { measuredAt } = (await fixture.store.get(Drive, { name })).status!.agent!.pool!
    return measuredAt > since ? true : undefined
  }, 'another measurement')
  abort.abort()
  await Promise.all([watching, another])
  return told
}

it('is not told too small when a volume is deleted while the pool is measured', async () => {
  const { metadata } = await fixture.store.get(Volume, { name: 'b' })
  const uid = await fixture.plexUid('b')
  const deleted = afterNextReading(async () => {
    await fixture.store.delete(Volume, metadata)
    await eventually(async () => ((await fixture.pool('n1').list()).some(({ id }) => id === uid) ? undefined : true))
  })
  expect(await heldUntilMeasured(deleted)).toEqual(new Set([held]))
})

it('is not told too small when a volume is restored while the pool is measured, and is measured after it', async () => {
  const restored = afterNextReading(async () => {
    await fixture.store.patch(Volume, { name: 'a' }, { spec: { restore: { snapshotName: 's', requestId: 'r' } } })
    await fixture.volumeWhen('a', ({ status }) => status?.restoredRequestId === 'r')
  })
  expect(await heldUntilMeasured(restored)).toEqual(new Set([held]))
})

it('is not told too small when blocks are discarded while the pool is measured', async () => {
  const uid = await fixture.plexUid('b')
  const { drive } = fixture.nodes.get('n1')!
  const measuredAt = async (): Promise<string> =>
    (await fixture.store.get(Drive, { name })).status!.agent!.pool!.measuredAt
  const before = await measuredAt()
  void afterNextReading(async () => drive.pool!.entries.get(uid)!.blocks.clear())
  await fixture.restartAgent('n1')
  await eventually(async () => ((await measuredAt()) > before ? true : undefined), 'the measurement')
  expect(await heldNow()).toBe(held)
})
