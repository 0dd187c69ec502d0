import { describe, expect, it } from 'vitest'
import { judgeFloor, type Arrivals } from './floor-windows.ts'

/** 1000 bytes in every millisecond of [from, to). */
function steady(from: number, to: number): Arrivals {
  return Array.from({ length: to - from }, (_, index) => [from + index, 1000] as const)
}

describe('judgeFloor', () => {
  it('finds every window attained while the floor arrives', () => {
    const verdict = judgeFloor(steady(5000, 10_000), [{ begin: 5000, end: 10_000 }], 1e6)
    expect(verdict).toEqual({ windows: 5, attained: 5, missedSeconds: [], lowest: 1, untilFull: [100] })
  })

  it('counts a window below 95 % as missed, and the time until the floor arrived', () => {
    const verdict = judgeFloor(steady(200, 3000), [{ begin: 0, end: 3000 }], 1e6)
    expect(verdict).toEqual({ windows: 3, attained: 2, missedSeconds: [1], lowest: 0.8, untilFull: [300] })
  })

  it('takes 95 % as attained, and says so when the floor itself never came', () => {
    const verdict = judgeFloor(steady(0, 1000), [{ begin: 0, end: 1000 }], 1e6 / 0.951)
    expect(verdict).toMatchObject({ windows: 1, attained: 1, untilFull: [Infinity] })
  })

  it('judges each demand by itself, and nothing of the time between', () => {
    const demands = [{ begin: 0, end: 1000 }, { begin: 3000, end: 4500 }] // prettier-ignore
    expect(judgeFloor([...steady(0, 1000), ...steady(3000, 4500)], demands, 1e6)).toMatchObject({
      windows: 2,
      attained: 2,
    })
  })

  it('misses everything when nothing arrived', () => {
    expect(judgeFloor([], [{ begin: 0, end: 2000 }], 1e6)).toEqual({
      windows: 2,
      attained: 0,
      missedSeconds: [1, 2],
      lowest: 0,
      untilFull: [Infinity],
    })
  })
})
