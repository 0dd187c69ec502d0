import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReceiveGovernor, receiving, wireShare, type Receiver } from './receive-governor.ts'

const linkRate = 1e9
const tick = 25

/** A flow of a model: what it would send at a time, in wire bits per second. */
interface ModelFlow {
  receiver: string
  node: string | undefined
  offers: (now: number) => number
}

/** Drives a governor with flows that obey their limits from the next step on; returns what arrived in each step. */
function drive(
  receivers: Receiver[],
  flows: ModelFlow[],
  milliseconds: number,
  plane?: { floor: number; offers: (now: number) => number },
): { now: number; rates: number[]; limited: number; limits: number; plane: number }[] {
  const governor = new ReceiveGovernor(linkRate)
  let limits = new Map<string, number>()
  const steps = []
  for (let now = 0; now < milliseconds; now += tick) {
    const offered = flows.map(({ receiver, node, offers }) =>
      Math.min(offers(now), limits.get(`${receiver} ${node}`) ?? Infinity),
    )
    // a port that is asked for more than it has loses from everybody alike
    const ofPlane = plane?.offers(now) ?? 0
    const share = Math.min(1, linkRate / offered.reduce((sum, each) => sum + each, ofPlane))
    const rates = offered.map((each) => each * share)
    const measured = flows.map(({ receiver, node }, index) => ({
      receiver,
      node,
      rate: rates[index]!,
      wasHeldBack: false,
    }))
    const decision = governor.step(
      now,
      receivers,
      measured.filter(({ rate }) => rate > 0),
      ofPlane * share,
      plane && [{ id: 'plane-0', floor: plane.floor, rate: ofPlane * share }],
    )
    limits = new Map(decision.limits.map((limit) => [`${limit.receiver} ${limit.node}`, limit.rate]))
    const sum = decision.limits.reduce((total, { rate }) => total + rate, 0)
    steps.push({ now, rates, limited: decision.limits.length, limits: sum, plane: ofPlane * share })
  }
  return steps
}

const gold = { id: 'gold', floor: 600e6 }
const others = [{ id: 'one', floor: 0 }, { id: 'two', floor: 0 }] // prettier-ignore
const flood = (receiver: string, node: string): ModelFlow => ({ receiver, node, offers: () => 2e9 })

describe('ReceiveGovernor', () => {
  it('does nothing while the link is not under pressure', () => {
    const calm = drive([gold, ...others], [{ receiver: 'one', node: 'n2', offers: () => 700e6 }], 3000)
    expect(calm.every(({ limited }) => limited === 0)).toBe(true)
  })

  it('gives the whole link to best effort while gold is idle, a little below its rate', () => {
    const steps = drive([gold, ...others], [flood('one', 'n2'), flood('two', 'n3')], 3000)
    const { rates } = steps.at(-1)!
    expect(rates[0]! + rates[1]!).toBeCloseTo(linkRate * receiving.linkShare, -3)
    expect(rates[0]).toBeCloseTo(rates[1]!, -3)
  })

  it('brings gold to its floor within 200 ms of its first frames, against floods of any number and size', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ receiver: fc.constantFrom('one', 'two'), node: fc.constantFrom('n2', 'n3', 'n4'), offer: fc.integer({ min: 100, max: 5000 }) }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 5, max: 60 }),
        (floods, doubling) => {
          const flows = new Map(floods.map(({ receiver, node, offer }) => [`${receiver} ${node}`, { receiver, node, offers: () => offer * 1e6 }]))
          const start = 2000
          // slow start: doubles every `doubling` milliseconds from a small window
          const offers = (now: number): number => (now < start ? 0 : Math.min(900e6, 20e6 * 2 ** ((now - start) / doubling)))
          const steps = drive([gold, ...others], [{ receiver: 'gold', node: 'n2', offers }, ...flows.values()], 5000)
          const ready = start + 200 + doubling * 6
          for (const { now, rates } of steps) if (now >= ready) expect(rates[0]).toBeGreaterThanOrEqual(gold.floor * 0.99)
        },
      ),
      { numRuns: 50 },
    ) // prettier-ignore
  })

  it('gives back within a second what gold no longer uses, and lifts all limits within a second of the end of pressure', () => {
    const offers = (now: number): number => (now < 2000 ? 900e6 : 0)
    const noise = (receiver: string, node: string): ModelFlow => ({
      receiver,
      node,
      offers: (now) => (now < 4000 ? 2e9 : 0),
    })
    const steps = drive([gold, ...others], [{ receiver: 'gold', node: 'n2', offers }, noise('one', 'n2'), noise('two', 'n3')], 6000) // prettier-ignore
    const at = (time: number): { rates: number[]; limited: number } => steps.find(({ now }) => now >= time)!
    expect(at(1900).rates[0]).toBeGreaterThanOrEqual(gold.floor * wireShare * 0.99)
    expect(at(3000).rates[1]! + at(3000).rates[2]!).toBeGreaterThan(linkRate * 0.95)
    expect(at(3900).limited).toBeGreaterThan(0)
    expect(at(5000).limited).toBe(0)
  })

  it('lets who got less than its floor catch up, at the cost of best effort and of nobody else', () => {
    const two = [{ id: 'gold', floor: 470e6 }, { id: 'silver', floor: 470e6 }, ...others]
    const stalls = (now: number): number => (now >= 3000 && now < 3150 ? 100e6 : 900e6)
    const flows = [
      { receiver: 'gold', node: 'n2', offers: stalls },
      { receiver: 'silver', node: 'n3', offers: () => 900e6 },
      flood('one', 'n2'),
    ]
    const steps = drive(two, flows, 4000)
    const after = steps.filter(({ now }) => now >= 3250 && now < 3500)
    expect(Math.max(...after.map(({ rates }) => rates[0]!))).toBeGreaterThan(470e6 * wireShare * 1.005)
    for (const { now, rates } of steps) if (now >= 1000) expect(rates[1]).toBeGreaterThanOrEqual(470e6 * 0.99)
  })

  it('holds back what it can when a flood comes from outside, and never the floor', () => {
    const outside: ModelFlow = { receiver: 'one', node: undefined, offers: () => 300e6 }
    const steps = drive([gold, ...others], [{ receiver: 'gold', node: 'n2', offers: () => 900e6 }, outside, flood('two', 'n3')], 3000) // prettier-ignore
    const { rates } = steps.at(-1)!
    expect(rates[0]).toBeGreaterThanOrEqual(gold.floor)
    expect(rates[1]).toBeGreaterThan(295e6)
  })

  it('leaves the floor of another plane of the node out of what it gives to receivers, and takes back what that does not use', () => {
    const small = { id: 'gold', floor: 500e6 }
    // as a TCP that begins, from 2 s to 4 s
    const planeOf = (floor: number): { floor: number; offers: (now: number) => number } => {
      let rate = 0
      return { floor, offers: (now) => (rate = now < 2000 || now >= 4000 ? 0 : Math.min(300e6, Math.max(10e6, rate * 1.6))) }
    }
    const flows = [{ receiver: 'gold', node: 'n2', offers: () => 900e6 }, flood('one', 'n2'), flood('two', 'n3')]
    const steps = drive([small, ...others], flows, 6000, planeOf(300e6))
    const during = steps.filter(({ now }) => now >= 2500 && now < 4000)
    expect(Math.min(...during.map(({ plane }) => plane))).toBeGreaterThanOrEqual(300e6 * 0.99)
    for (const { now, rates, plane } of steps) {
      if (now < 1000) continue
      expect(rates[0]).toBeGreaterThanOrEqual(small.floor * 0.99)
      if (now >= 2500 && now < 4000) expect(rates.reduce((sum, each) => sum + each, plane)).toBeLessThanOrEqual(linkRate * receiving.linkShare * 1.01)
    }
    const { rates } = steps.at(-1)!
    expect(rates.reduce((sum, each) => sum + each, 0), 'idle again').toBeGreaterThan(linkRate * 0.93)
    const without = drive([small, ...others], flows, 4000, planeOf(0)).filter(({ now }) => now >= 2000)
    const lost = (all: typeof steps): number => all.filter(({ rates: each, plane }) => each.reduce((sum, rate) => sum + rate, plane) >= linkRate).length
    expect(lost(steps)).toBeLessThan(lost(without))
  }) // prettier-ignore

  it('never sets limits that add up to more than the link, and forgets flows that have ended', () => {
    const some = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 2, maxLength: 8 })
    fc.assert(
      fc.property(some, fc.integer({ min: 1, max: 20 }), (megabits, period) => {
        const flows = megabits.map((offer, index): ModelFlow => ({
          receiver: ['gold', 'one', 'two'][index % 3]!,
          node: `n${index}`,
          offers: (now) => (Math.floor(now / (period * 50)) % 2 === index % 2 ? offer * 1e6 : 0),
        }))
        for (const { limits, limited } of drive([gold, ...others], flows, 4000)) {
          expect(limits).toBeLessThanOrEqual(linkRate * receiving.linkShare + limited * linkRate * receiving.leastShare + 1)
        }
      }),
      { numRuns: 50 },
    ) // prettier-ignore
  })
})
