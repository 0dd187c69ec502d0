import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Lease, PerfTier } from '../api/index.ts'
import { silentLogger } from '../base/index.ts'
import { EmbeddedStore } from './embedded/index.ts'
import { acquireLeadership, fencedStore, type Leadership } from './leader-election.ts'
import type { ResourceStore } from './resource-store.ts'

const timing = { leaseDuration: 3_000, renewDeadline: 2_000, retryPeriod: 40 }
const lease = { namespace: 'default', name: 'control' }
const logger = silentLogger()
const leaders: Leadership[] = []
let folder: string
let store: EmbeddedStore

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-election-'))
  store = new EmbeddedStore({ file: join(folder, 'store.db') })
})
afterEach(async () => {
  for (const leader of leaders.splice(0)) await leader.release()
  await store.close()
  rmSync(folder, { recursive: true })
})

async function lead(store: ResourceStore, identity: string, signal?: AbortSignal): Promise<Leadership> {
  const leader = await acquireLeadership({ store, lease, identity, logger, timing }, signal)
  leaders.push(leader)
  return leader
}

describe('leader election', () => {
  test('one leads, the next follows as soon as it lets go', async () => {
    const first = await lead(store, 'a')
    const second = lead(store, 'b')
    await sleep(3_500) // longer than the lease
    expect(first.isHeld()).toBe(true)
    expect((await store.get(Lease, lease)).spec).toMatchObject({ holderIdentity: 'a', leaseTransitions: 0 })
    await first.release()
    expect((await second).isHeld()).toBe(true)
    expect(first.isHeld()).toBe(false)
    expect((await store.get(Lease, lease)).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 })
  })

  test('a leader that is cut off has given up before another takes over', async () => {
    let isCutOff = false
    const first = await lead(fencedStore(store, { isHeld: () => !isCutOff }), 'a')
    const takenOver = lead(store, 'b').then(() => first.isHeld())
    isCutOff = true
    expect(await takenOver, 'whether the old one still held when the new one began').toBe(false)
    await expect.poll(() => first.lost.aborted).toBe(true)
  })

  test('one that comes back under its own name goes on at once', async () => {
    const first = await lead(store, 'a')
    await first.release()
    await store.patch(Lease, lease, { spec: { holderIdentity: 'a' } })
    expect((await lead(store, 'a')).isHeld()).toBe(true)
  })

  test('waiting ends with its signal', async () => {
    await lead(store, 'a')
    const stop = new AbortController()
    const waiting = lead(store, 'b', stop.signal)
    stop.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow()
    await leaders.pop()!.release()
  })

  test('without leadership a fenced store reads and writes nothing', async () => {
    const leader = await lead(store, 'a')
    const fenced = fencedStore(store, leader)
    await fenced.create(PerfTier, { metadata: { name: 'gold' }, spec: {} })
    await leader.release()
    await expect(fenced.delete(PerfTier, { name: 'gold' })).rejects.toMatchObject({ code: 'Unavailable' })
    expect((await fenced.get(PerfTier, { name: 'gold' })).metadata.name).toBe('gold')
  })
})
