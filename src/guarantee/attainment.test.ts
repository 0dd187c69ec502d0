import fc from 'fast-check'
import { expect, it } from 'vitest'
import { attainment, formatAttainment, sumOfWindows, windowsBetween } from './attainment.ts'

it('is the share of windows with demand, and nothing without demand', () => {
  expect(attainment({ withDemand: 300, attained: 297 })).toBe(0.99)
  expect(attainment({ withDemand: 0, attained: 0 })).toBeUndefined()
})

it('reads 100% only when every window was attained', () => {
  expect(formatAttainment({ withDemand: 100_000, attained: 99_999 })).toBe('99.9%')
  expect(formatAttainment({ withDemand: 7, attained: 7 })).toBe('100%')
  expect(formatAttainment({ withDemand: 0, attained: 0 })).toBe('-')
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e9 }), fc.nat(), (withDemand, part) => {
      const attained = part % (withDemand + 1)
      expect(formatAttainment({ withDemand, attained }) === '100%').toBe(attained === withDemand)
    }),
  )
})

it('subtracts readings, and starts again with a counter that started again', () => {
  expect(windowsBetween({ withDemand: 10, attained: 9 }, { withDemand: 14, attained: 12 })).toEqual({
    withDemand: 4,
    attained: 3,
  })
  expect(windowsBetween({ withDemand: 10, attained: 9 }, { withDemand: 2, attained: 2 }).withDemand).toBe(2)
  expect(
    sumOfWindows([
      { withDemand: 1, attained: 1 },
      { withDemand: 2, attained: 0 },
    ]),
  ).toEqual({
    withDemand: 3,
    attained: 1,
  })
})
