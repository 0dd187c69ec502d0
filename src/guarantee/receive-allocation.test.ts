import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { allocateReceive, shareMaxMin, type Link, type ReceiverDemand } from './receive-allocation.ts'

const link: Link = { budget: 970, least: 1 }
const rate = fc.integer({ min: 0, max: 1500 })
const sender = fc.record({ rate, more: fc.oneof(rate, fc.constant(Infinity)), isOutside: fc.boolean() })
const receivers = fc
  .array(
    fc.record({
      reserve: fc.integer({ min: 0, max: 200 }),
      cap: fc.option(fc.integer({ min: 200, max: 1000 }), { nil: undefined }),
      senders: fc.array(sender, { maxLength: 4 }),
    }),
    { maxLength: 6 },
  )
  .map((list) =>
    list.map(({ reserve, cap, senders }, index): ReceiverDemand => ({
      id: `r${index}`,
      reserve: index < 4 ? reserve : 0, // reserves are floors, and those never add up to more than the budget
      ...(cap === undefined ? {} : { cap }),
      senders: senders.map((each, number) =>
        each.isOutside
          ? { node: undefined, rate: each.rate / 10, wants: each.rate / 10 }
          : { node: `n${number}`, rate: each.rate, wants: each.rate + each.more },
      ),
    })),
  )

const sum = (numbers: number[]): number => numbers.reduce((total, each) => total + each, 0)
const outsideOf = ({ senders }: ReceiverDemand): number =>
  sum(senders.filter(({ node }) => node === undefined).map((each) => each.rate))
const wantsOf = ({ senders, cap, ...rest }: ReceiverDemand): number =>
  Math.min(
    sum(senders.filter(({ node }) => node !== undefined).map((each) => each.wants)),
    Math.max(0, (cap ?? Infinity) - outsideOf({ senders, ...rest })),
  )

describe('allocateReceive', () => {
  it('never lets in more than the budget, but for what must be let in', () => {
    fc.assert(
      fc.property(receivers, (demands) => {
        const limits = allocateReceive(link, demands)
        const outside = sum(demands.map(outsideOf))
        const reserves = sum(
          demands.map((each) => Math.min(wantsOf(each), Math.max(0, each.reserve - outsideOf(each)))),
        )
        const most = Math.max(link.budget - outside, reserves)
        expect(sum(limits.map((limit) => limit.rate))).toBeLessThanOrEqual(most + limits.length * link.least + 1e-6)
      }),
    )
  })

  it('gives each receiver its reserve, whatever others want', () => {
    fc.assert(
      fc.property(receivers, (demands) => {
        const limits = allocateReceive(link, demands)
        for (const demand of demands) {
          const given = sum(limits.filter(({ receiver }) => receiver === demand.id).map((limit) => limit.rate))
          const due = Math.min(wantsOf(demand), Math.max(0, demand.reserve - outsideOf(demand)))
          expect(given).toBeGreaterThanOrEqual(due - 1e-6)
        }
      }),
    )
  })

  it('leaves nothing unused while anybody wants it, and gives nobody more than it wants or than its cap', () => {
    fc.assert(
      fc.property(receivers, (demands) => {
        const limits = allocateReceive({ ...link, least: 0 }, demands)
        const given = sum(limits.map((limit) => limit.rate))
        const wanted = sum(demands.map(wantsOf))
        const available = link.budget - sum(demands.map(outsideOf))
        expect(given).toBeGreaterThanOrEqual(Math.min(wanted, available) - 1e-6)
        for (const demand of demands) {
          const mine = limits.filter(({ receiver }) => receiver === demand.id)
          expect(sum(mine.map((limit) => limit.rate))).toBeLessThanOrEqual(wantsOf(demand) + 1e-6)
        }
      }),
    )
  })
})

describe('shareMaxMin', () => {
  it('satisfies the small and shares the rest equally among the large', () => {
    expect(shareMaxMin(100, [10, Infinity, 200])).toEqual([10, 45, 45])
    expect(shareMaxMin(0, [10, 20])).toEqual([0, 0])
    expect(shareMaxMin(100, [10, 20])).toEqual([10, 20])
    expect(shareMaxMin(100, [])).toEqual([])
  })
})
