import { describe, expect, it } from 'vitest'
import { compareRounds, median, quantile } from './statistics.ts'

describe('statistics of a benchmark', () => {
  it('takes quantiles by nearest rank', () => {
    const values = [30, 10, 20, 40]
    expect([quantile(values, 0.5), quantile(values, 0.99), quantile(values, 0)]).toEqual([20, 40, 10])
  })

  it('takes the mean of the two middle values', () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5])
  })

  it('compares round by round, so that a slow round of both changes nothing', () => {
    expect(compareRounds([9, 4.5, 9], [10, 5, 10])).toEqual({ median: 0.9, lowest: 0.9, highest: 0.9 })
  })
})
