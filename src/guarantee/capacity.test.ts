import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CapacityLedger } from './capacity-ledger.ts'
import {
  doesNotFit,
  fit,
  formatRate,
  formatSpace,
  nothing,
  promisableBandwidth,
  resources,
  sumOf,
  type Amounts,
} from './capacity.ts'

const gigabit = 1_000_000_000
const amounts = fc.record({
  bandwidth: fc.nat(10 * gigabit),
  interfaces: fc.nat(1000),
  iops: fc.nat(1_000_000),
  space: fc.nat({ max: 2 ** 42 }),
})

describe('promisableBandwidth', () => {
  it('leaves the management reserve and the shaping margin', () => {
    expect(promisableBandwidth(10 * gigabit)).toBe(9_400_000_000)
    expect(promisableBandwidth(100 * gigabit)).toBe(94_900_000_000)
    expect(promisableBandwidth(0)).toBe(0)
  })

  it('never exceeds the link and never falls when the link gets faster', () => {
    fc.assert(
      fc.property(fc.nat(400 * gigabit), fc.nat(gigabit), (rate, more) => {
        expect(promisableBandwidth(rate)).toBeLessThanOrEqual(rate)
        expect(promisableBandwidth(rate + more)).toBeGreaterThanOrEqual(promisableBandwidth(rate))
      }),
    )
  })
})

describe('fit', () => {
  it('refuses exactly when a resource that is asked for would exceed its total', () => {
    fc.assert(
      fc.property(amounts, amounts, amounts, (ask, promised, total) => {
        const expected = resources.every((r) => ask[r] === 0 || ask[r] + promised[r] <= total[r])
        expect(fit(ask, { total, promised }).fits).toBe(expected)
      }),
    )
  })

  it('tells what is short in numbers', () => {
    const total = { ...nothing, bandwidth: 10 * gigabit, interfaces: 63 }
    const result = fit(
      { ...nothing, bandwidth: 2 * gigabit, interfaces: 1 },
      { total, promised: { ...nothing, bandwidth: 9.2 * gigabit, interfaces: 6 } },
    )
    expect(result).toMatchObject({ fits: false })
    if (result.fits) return
    const error = doesNotFit('endpoint default/web', 'n2', result.shortfalls)
    expect(error.code).toBe('Exhausted')
    expect(error.message).toBe(
      'endpoint default/web needs 2 Gbit/s, node n2 has 800 Mbit/s of 10 Gbit/s left (bandwidth that can be promised)',
    )
    expect(error.remedy).toContain('lower floor')
  })

  it('lets best effort onto a node that is overcommitted', () => {
    const over = {
      total: { ...nothing, bandwidth: 1, interfaces: 9 },
      promised: { ...nothing, bandwidth: 5, interfaces: 1 },
    }
    expect(fit({ ...nothing, interfaces: 1 }, over).fits).toBe(true)
  })
})

describe('formatRate', () => {
  it('uses the largest unit that fits', () => {
    expect([0, 999, 1500, 125_000_000, 2.5 * gigabit].map(formatRate)).toEqual([
      '0 bit/s',
      '999 bit/s',
      '1.5 kbit/s',
      '125 Mbit/s',
      '2.5 Gbit/s',
    ])
  })
})

describe('formatSpace', () => {
  it('uses the largest unit that fits', () => {
    expect([0, 1023, 1536, 10 * 2 ** 30, 2.25 * 2 ** 40].map(formatSpace)).toEqual([
      '0 B',
      '1023 B',
      '1.5 KiB',
      '10 GiB',
      '2.25 TiB',
    ])
  })
})

describe('CapacityLedger', () => {
  const total: Amounts = { ...nothing, bandwidth: 1000, interfaces: 5, space: 700 }
  const step = fc.record({
    owner: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'),
    node: fc.constantFrom('n1', 'n2'),
    ask: fc.option(
      fc.record({
        bandwidth: fc.nat(600),
        interfaces: fc.constant(1),
        iops: fc.constant(0),
        space: fc.nat(300),
      }),
    ),
  })

  it('never promises more than there is, and its sums are those of its promises', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ledger = new CapacityLedger()
        const model = new Map<string, { node: string; ask: Amounts }>()
        for (const { owner, node, ask } of steps) {
          if (!ask) {
            ledger.release(owner)
            model.delete(owner)
          } else if (ledger.promise(owner, node, ask, total).fits) model.set(owner, { node, ask })
          for (const each of ['n1', 'n2']) {
            const sum = sumOf([...model.values()].filter((p) => p.node === each).map((p) => p.ask))
            expect(ledger.promisedOn(each)).toEqual(sum)
            for (const resource of resources) expect(sum[resource]).toBeLessThanOrEqual(total[resource])
          }
        }
      }),
    )
  })

  it('lets an owner have less on a node that can no longer keep what it promised', () => {
    const ledger = new CapacityLedger()
    ledger.record('a', 'n1', { ...nothing, bandwidth: 900, interfaces: 1 })
    const slower = { ...nothing, bandwidth: 500, interfaces: 10 }
    expect(ledger.promise('a', 'n1', { ...nothing, bandwidth: 901, interfaces: 1 }, slower).fits).toBe(false)
    expect(ledger.promise('a', 'n1', { ...nothing, bandwidth: 800, interfaces: 1 }, slower).fits).toBe(true)
    expect(ledger.promisedOn('n1').bandwidth).toBe(800)
    expect(ledger.promise('b', 'n1', { ...nothing, bandwidth: 1, interfaces: 1 }, slower).fits).toBe(false)
  })

  it('counts what an owner has already as its own when it asks again', () => {
    const ledger = new CapacityLedger()
    expect(ledger.promise('a', 'n1', { ...nothing, bandwidth: 900, interfaces: 1 }, total).fits).toBe(true)
    expect(ledger.promise('a', 'n1', { ...nothing, bandwidth: 1000, interfaces: 1 }, total).fits).toBe(true)
    expect(ledger.promise('a', 'n1', { ...nothing, bandwidth: 1001, interfaces: 1 }, total).fits).toBe(false)
    expect(ledger.of('a')?.amounts.bandwidth).toBe(1000)
  })
})
