import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DriveModel, type ModelUser } from './drive-model.ts'
import { FloorKeeper, type VolumeLook } from './floor-keeper.ts'
import { IopsWindows } from './iops-windows.ts'

const capacity = 8000
const latency = 1.3e-4
const tick = 0.05

const gold = (depth: number, more: Partial<ModelUser> = {}): ModelUser => ({ id: 'gold', floor: 4000, depth, ...more })
const flood = (count: number, depth = 32): ModelUser[] =>
  Array.from({ length: count }, (_, index) => ({ id: `flood${index}`, floor: 0, depth }))

interface Seen {
  looks: VolumeLook[]
  limits: ReadonlyMap<string, number>
}

/** Keeps floors on a model for so many seconds; `users` may change it in between. */
function keep(model: DriveModel, seconds: number, users: (second: number) => ModelUser[] = () => model.users): Seen[] {
  const keeper = new FloorKeeper({ iops: capacity, latency })
  const seen: Seen[] = []
  let limits: ReadonlyMap<string, number> = new Map()
  for (let at = 0; at < Math.round(seconds / tick); at++) {
    model.users = users(at * tick)
    const looks = model.run(tick, limits)
    limits = keeper.look(at * tick * 1000, looks)
    seen.push({ looks, limits })
  }
  return seen
}

const mean = (seen: Seen[], pick: (look: VolumeLook) => boolean): number =>
  seen.reduce((sum, { looks }) => sum + looks.filter(pick).reduce((all, { delivered }) => all + delivered, 0), 0) /
  seen.length

describe('FloorKeeper', () => {
  it('keeps a floor against a flood that would leave a ninth of it', () => {
    const users = [gold(32), ...flood(8)]
    const alone = new DriveModel(capacity, users).run(2, new Map())
    expect(alone[0]!.delivered).toBeLessThan(1000)
    const seen = keep(new DriveModel(capacity, users), 5)
    expect(mean(seen.slice(20), ({ id }) => id === 'gold')).toBeGreaterThanOrEqual(4000)
    expect(mean(seen.slice(20), () => true)).toBeGreaterThanOrEqual(0.95 * capacity)
  })

  it('attains every window of a volume that goes on and off', () => {
    const model = new DriveModel(capacity, [gold(32), ...flood(8)])
    const isOn = (second: number): boolean => Math.floor(second / 5) % 2 === 0
    const seen = keep(model, 60, (second) => [gold(isOn(second) ? 32 : 0), ...flood(8)])
    for (let begin = 0; begin < 60; begin += 10) {
      for (let second = 0; second < 5; second++) {
        const window = seen.slice((begin + second) / tick, (begin + second + 1) / tick)
        expect(mean(window, ({ id }) => id === 'gold')).toBeGreaterThanOrEqual(0.95 * 4000)
      }
      const idle = seen.slice((begin + 6) / tick, (begin + 10) / tick)
      expect(mean(idle, () => true)).toBeGreaterThanOrEqual(0.95 * capacity)
    }
  })

  it('holds nobody back for a volume that does not ask for its floor', () => {
    const seen = keep(new DriveModel(capacity, [gold(32, { rate: 500 }), ...flood(1, 4)]), 3)
    expect(seen.slice(10).every(({ limits }) => limits.size === 0)).toBe(true)
  })

  it('gives neighbours what a volume that wants just its floor leaves', () => {
    const seen = keep(new DriveModel(capacity, [gold(32, { rate: 4000 }), ...flood(8)]), 20)
    expect(mean(seen.slice(200), ({ id }) => id === 'gold')).toBeGreaterThanOrEqual(0.95 * 4000)
    expect(mean(seen.slice(200), () => true)).toBeGreaterThanOrEqual(0.9 * capacity)
  })

  it('lets neighbours live on a drive that gives less than it was measured to', () => {
    const seen = keep(new DriveModel(2000, [gold(32), ...flood(4)]), 5)
    for (const { limits } of seen.slice(5)) expect(Math.min(...limits.values())).toBeGreaterThan(0)
    expect(mean(seen.slice(40), ({ id }) => id !== 'gold')).toBeGreaterThan(0)
  })

  it('makes a promised volume give up what it has beyond its floor for another one', () => {
    const users = [gold(1024), { id: 'other', floor: 3000, depth: 8 }]
    const seen = keep(new DriveModel(capacity, users), 6)
    expect(mean(seen.slice(60), ({ id }) => id === 'other')).toBeGreaterThanOrEqual(0.95 * 3000)
    expect(mean(seen.slice(60), ({ id }) => id === 'gold')).toBeGreaterThanOrEqual(0.95 * 4000)
  })

  it('keeps any floor that the drive has room for, whatever the flood', () => {
    const floods = fc.array(fc.integer({ min: 1, max: 128 }), { minLength: 1, maxLength: 10 })
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 6000 }), floods, (floor, depths) => {
        const users = [
          { id: 'gold', floor, depth: 64 },
          ...depths.map((depth, index) => ({ id: `flood${index}`, floor: 0, depth })),
        ]
        const seen = keep(new DriveModel(capacity, users), 4)
        for (const { limits } of seen) for (const limit of limits.values()) expect(limit).toBeGreaterThan(0)
        expect(mean(seen.slice(40), ({ id }) => id === 'gold')).toBeGreaterThanOrEqual(0.95 * floor)
        expect(mean(seen.slice(40), () => true)).toBeGreaterThanOrEqual(0.9 * Math.min(capacity, 64 * 100))
      }),
      { numRuns: 60 },
    )
  })
})

describe('IopsWindows', () => {
  const second = (windows: IopsWindows, from: number, delivered: number, hasDemand: boolean): void => {
    for (let at = from; at <= from + 1000; at += 50) windows.look(at, [{ id: 'v', floor: 1000, delivered, hasDemand }])
  }

  it('counts a second in which the floor was delivered, asked for or not', () => {
    const windows = new IopsWindows()
    second(windows, 0, 1000, false)
    expect(windows.of('v')).toEqual({ withDemand: 1, attained: 1 })
  })

  it('counts a second of demand in which nothing was delivered as missed', () => {
    const windows = new IopsWindows()
    second(windows, 0, 0, true)
    expect(windows.of('v')).toEqual({ withDemand: 1, attained: 0 })
  })

  it('judges nothing without demand', () => {
    const windows = new IopsWindows()
    second(windows, 0, 300, false)
    expect(windows.of('v')).toEqual({ withDemand: 0, attained: 0 })
  })
})
