import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WindowHistory, type WindowReading } from './window-history.ts'

const hour = { bucket: 60_000, buckets: 60 }
const minute = 60_000
const start = 1_800_000_000_000
const reading = (withDemand: number, attained = withDemand, id = 'a'): WindowReading => ({
  id,
  windows: { withDemand, attained },
})

describe('a history of windows', () => {
  it('begins with the first reading and adds what is new', () => {
    const history = new WindowHistory(hour)
    expect(history.recent('a')).toBeUndefined()
    history.record(start, [reading(1000, 900)])
    expect(history.recent('a')).toEqual({ withDemand: 0, attained: 0, since: start })
    history.record(start + 1000, [reading(1001, 900)])
    history.record(start + 2000, [reading(1002, 901)])
    expect(history.recent('a')).toEqual({ withDemand: 2, attained: 1, since: start })
  })

  it('forgets what is older than an hour, minute by minute', () => {
    const history = new WindowHistory(hour)
    let count = 0
    for (let at = 0; at <= 120; at++) history.record(start + at * minute, [reading((count += 50))])
    expect(history.recent('a')).toMatchObject({ withDemand: 2975, attained: 2975 }) // half of the last 50 fell into the minute before
    for (let at = 121; at < 150; at++) history.record(start + at * minute, [reading(count)])
    expect(history.recent('a')!.withDemand).toBe(30 * 50 + 25)
    expect(history.recent('a')!.since).toBeGreaterThan(start + 89 * minute)
  })

  it('spreads what passed while nobody read over that time', () => {
    const history = new WindowHistory(hour)
    history.record(start, [reading(0)])
    history.record(start + 120 * minute, [reading(7200, 3600)])
    const { withDemand, attained } = history.recent('a')!
    expect(withDemand).toBeGreaterThan(3400)
    expect(withDemand).toBeLessThan(3700)
    expect(attained / withDemand).toBeCloseTo(0.5, 1)
  })

  it('counts a counter that began again from zero, and forgets who is gone', () => {
    const history = new WindowHistory(hour)
    history.record(start, [reading(100), reading(5, 5, 'b')])
    history.record(start + 1000, [reading(3, 2)])
    expect(history.recent('a')).toMatchObject({ withDemand: 3, attained: 2 })
    expect(history.recent('b')).toBeUndefined()
  })

  it('goes on after a restart: what the kernel counted meanwhile is in', () => {
    const first = new WindowHistory(hour)
    for (let at = 0; at <= 30; at++) first.record(start + at * minute, [reading(at * 60, at * 59)])
    const saved = JSON.parse(JSON.stringify(first.save())) as unknown
    const second = new WindowHistory(hour)
    second.restore(saved, start + 31 * minute)
    expect(second.recent('a')).toEqual(first.recent('a'))
    second.record(start + 40 * minute, [reading(40 * 60, 40 * 59)])
    expect(second.recent('a')).toEqual({ withDemand: 2400, attained: 2360, since: start })
    second.record(start + 200 * minute, [reading(40 * 60, 40 * 59)])
    expect(second.recent('a')).toMatchObject({ withDemand: 0, attained: 0 })
  })

  it('takes a history from the future as of now', () => {
    const first = new WindowHistory(hour)
    first.record(start, [reading(0)])
    first.record(start + 1000, [reading(7)])
    const second = new WindowHistory(hour)
    second.restore(first.save(), start - 30 * 86_400_000)
    second.record(start - 30 * 86_400_000 + 1000, [reading(9)])
    expect(second.recent('a')!.withDemand).toBe(9)
  })

  it.each([
    null,
    7,
    'text',
    [],
    {},
    { at: 'x', promises: [] },
    { at: 1, promises: {} },
    { at: 1, promises: [null, 7, {}, { id: 'a' }, { id: 'a', since: 1, last: [1], fills: 'AAAA' }] },
    { at: 1e300, promises: [{ id: 'a', since: 1, last: ['1', 2], fills: 'A'.repeat(320) }] },
  ])('takes nothing from %j', (saved) => {
    const history = new WindowHistory(hour)
    expect(() => history.restore(saved, start)).not.toThrow()
    expect(history.recent('a')).toBeUndefined()
    history.record(start, [reading(1)])
    history.record(start + 1000, [reading(2)])
    expect(history.recent('a')!.withDemand).toBeLessThanOrEqual(1)
  })

  it('never counts a window twice, loses none of the last hour, and does not mind when it is read', () => {
    const steps = fc.array(
      fc.record({ wait: fc.integer({ min: 1, max: 90_000 }), add: fc.integer({ min: 0, max: 90 }) }),
      {
        maxLength: 60,
      },
    )
    fc.assert(
      fc.property(steps, (readings) => {
        const history = new WindowHistory(hour)
        history.record(start, [reading(0)])
        let [now, total] = [start, 0]
        for (const { wait, add } of readings) {
          now += wait
          total += add
          history.record(now, [reading(total)])
        }
        const { withDemand } = history.recent('a')!
        expect(withDemand).toBeLessThanOrEqual(total)
        if (now - start < 59 * minute) expect(withDemand).toBe(total)
      }),
    )
  })
})
