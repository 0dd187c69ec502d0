import { beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../base/index.ts'
import type { EventNotice } from '../store/index.ts'
import { describeDuplicate, DuplicateWatch, type WatchedEndpoint } from './duplicate-watch.ts'
import type { ForeignUse } from './engine.ts'

let now: number
let attached: WatchedEndpoint[]
let uses: ForeignUse[]
let probed: string[]
let events: Pick<EventNotice, 'type' | 'reason' | 'note'>[]
let watch: DuplicateWatch

const endpoint = (id: string): WatchedEndpoint => ({ endpointId: id, namespace: 'default', name: `name-${id}` })
const use = (change: Partial<ForeignUse> = {}): ForeignUse => ({
  ...{ endpointId: 'a', address: '10.30.0.10', macAddress: '02:cb:00:00:00:01', sinceHeard: 100 },
  ...change,
})

beforeEach(() => {
  now = 0
  ;[attached, uses, probed, events] = [[endpoint('a')], [], [], []]
  watch = new DuplicateWatch({
    engine: { foreignUses: () => uses, probeAddresses: (id) => void probed.push(id) },
    attached: () => attached,
    events: { record: ({ type, reason, note }) => void events.push({ type, reason, note }) },
    logger: silentLogger(),
    now: () => now,
  })
})

function tick(times = 1): void {
  for (let i = 0; i < times; i++) {
    watch.tick()
    now += 1_000
  }
}

describe('probes', () => {
  test('go out three times after an attach, a tick apart, and then no more', () => {
    tick(10)
    attached.push(endpoint('b'))
    tick(10)
    expect(probed).toEqual(['a', 'a', 'a', 'b', 'b', 'b'])
  })

  test('of many endpoints are spread', () => {
    attached = Array.from({ length: 120 }, (_, index) => endpoint(String(index)))
    const inEachTick = Array.from({ length: 9 }, () => {
      const before = probed.length
      tick()
      return probed.length - before
    })
    expect(Math.max(...inEachTick)).toBeLessThanOrEqual(50)
    for (const { endpointId } of attached) expect(probed.filter((id) => id === endpointId)).toHaveLength(3)
  })

  test('go on while a duplicate lasts', () => {
    uses = [use()]
    tick(30)
    expect(probed.length).toBeGreaterThanOrEqual(3 + 4)
  })
})

describe('a duplicate', () => {
  test('is told when it begins, every minute while it lasts, and when it is gone', () => {
    uses = [use()]
    tick(130)
    expect(events.map(({ reason }) => reason)).toEqual(['DuplicateAddress', 'DuplicateAddress', 'DuplicateAddress'])
    expect(events[0]).toMatchObject({ type: 'Warning', note: expect.stringContaining('02:cb:00:00:00:01') as string })
    expect(watch.duplicates()).toMatchObject([{ name: 'name-a', address: '10.30.0.10' }])
    uses = [use({ sinceHeard: 20_000 })]
    tick()
    expect(events.at(-1)).toMatchObject({ type: 'Normal', reason: 'DuplicateAddressGone' })
    expect(watch.duplicates()).toEqual([])
    tick(100)
    expect(events).toHaveLength(4)
  })

  test('of several MACs is one, with the last heard', () => {
    uses = [use({ sinceHeard: 500 }), use({ macAddress: '02:cb:00:00:00:02', sinceHeard: 10 })]
    tick(2)
    expect(events).toHaveLength(1)
    expect(watch.duplicates()).toMatchObject([{ macAddress: '02:cb:00:00:00:02' }])
  })

  test('goes silently with its endpoint', () => {
    uses = [use()]
    tick()
    attached = []
    tick()
    expect(watch.duplicates()).toEqual([])
    expect(events).toHaveLength(1)
  })
})

describe('a MAC of ours under which another host sends', () => {
  const mac = '02:00:00:00:00:0a'
  let lastHeard: number

  /** Ticks for so many seconds, in which nothing is heard. */
  function goOn(seconds: number): void {
    for (let second = 0; second < seconds; second++) {
      uses = [use({ address: mac, macAddress: mac, sinceHeard: now - lastHeard })]
      tick()
    }
  }

  test('is told when it was heard over some time, and when it is not heard for a minute', () => {
    lastHeard = now
    goOn(4)
    expect(events, 'heard once: the last frames of an endpoint that has moved here').toEqual([])
    lastHeard = now
    goOn(1)
    expect(events).toMatchObject([
      { type: 'Warning', reason: 'DuplicateMac', note: expect.stringContaining(mac) as string },
    ])
    expect(watch.duplicates().map((duplicate) => describeDuplicate(duplicate).message)).toEqual([
      `MAC ${mac} of endpoint default/name-a is also used by another host on its VLAN`,
    ])
    const asked = probed.length
    goOn(59)
    expect(probed.length - asked, 'nobody can be asked about a MAC').toBe(0)
    expect(events).toHaveLength(1)
    goOn(2)
    expect(events.at(-1)).toMatchObject({ type: 'Normal', reason: 'DuplicateMacGone' })
    expect(watch.duplicates()).toEqual([])
  })
})
