import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FoundUplink, Node } from '../api/index.ts'
import { nothing, promisableBandwidth, type Amounts } from './capacity.ts'
import { linkRateOf, nodeTotals } from './node-totals.ts'
import { bandwidthForPods, enforcedShares, planeReserves, sharesPodsLink } from './planes.ts'
import { judgePromises } from './promises.ts'

const gigabit = 1_000_000_000
const rates = fc.array(fc.record({ rate: fc.nat(5 * gigabit) }), { maxLength: 2 })
const floors = fc.array(fc.nat(10 * gigabit), { maxLength: 20 })
const link = fc.nat(100 * gigabit)
const sum = (numbers: number[]): number => numbers.reduce((total, each) => total + each, 0)

describe('the shares that are enforced', () => {
  it('never add up to more than can be promised on the link', () => {
    fc.assert(
      fc.property(floors, link, rates, (promised, linkRate, reserves) => {
        const shares = enforcedShares(sum(promised), linkRate, reserves)
        const enforced = sum(promised.map((floor) => Math.floor(floor * shares.floors)))
        const kept = sum(reserves.map(({ rate }) => Math.floor(rate * shares.reserves)))
        expect(enforced + kept).toBeLessThanOrEqual(promisableBandwidth(linkRate))
      }),
    )
  })

  it('take nothing from anybody while all fits', () => {
    fc.assert(
      fc.property(floors, rates, link, (promised, reserves, more) => {
        const wanted = sum(promised) + sum(reserves.map(({ rate }) => rate))
        const linkRate = Math.ceil(wanted / 0.94) + 2 + more
        expect(enforcedShares(sum(promised), linkRate, reserves)).toEqual({ floors: 1, reserves: 1 })
      }),
    )
  })

  it('grow with the link and shrink with what is promised', () => {
    fc.assert(
      fc.property(
        fc.nat(50 * gigabit),
        fc.nat(gigabit),
        link,
        link,
        rates,
        (promised, more, linkRate, faster, planes) => {
          const shares = enforcedShares(promised, linkRate, planes)
          const withFaster = enforcedShares(promised, linkRate + faster, planes)
          const withMore = enforcedShares(promised + more, linkRate, planes)
          expect(withFaster.floors).toBeGreaterThanOrEqual(shares.floors)
          expect(withFaster.reserves).toBeGreaterThanOrEqual(shares.reserves)
          expect(withMore.floors).toBeLessThanOrEqual(shares.floors)
          expect(withMore.reserves).toBe(shares.reserves)
        },
      ),
    )
  })

  it('leave floors nothing when the link is not there, and never a number that is none', () => {
    expect(enforcedShares(gigabit, 0, [{ rate: 1 }])).toEqual({ floors: 0, reserves: 0 })
    expect(enforcedShares(0, 0, [])).toEqual({ floors: 1, reserves: 1 })
  })
})

const found = (plane: FoundUplink['plane'], device: string, on: string, more: Partial<FoundUplink> = {}): FoundUplink => ({
  plane, interface: device, link: on, linkRate: 10 * gigabit, mtu: 1500, carrier: true, ...more,
}) // prettier-ignore

const spec: Node['spec'] = {
  uplinks: {
    pods: { interface: 'bond0', rate: '20G' },
    management: { interface: 'bond0.20', rate: '100M' },
    storage: { interface: 'san0', rate: '10G' },
  },
  maximumInterfaces: 63,
}

function node(linkRate: number, carrier = true, own: Node['spec'] = spec, uplinks?: FoundUplink[]): Node {
  const agent = { heartbeat: '', address: '', version: '', mtu: 1500, problems: [], linkRate, carrier, uplinks }
  return { metadata: { name: 'n1' }, spec: own, status: { agent } } as unknown as Node
}

describe('planes', () => {
  it('share the link of pods when the agent found so, and until then when their names say so', () => {
    expect(sharesPodsLink(spec, 'management')).toBe(true)
    expect(sharesPodsLink(spec, 'storage')).toBe(false)
    const uplinks = [found('pods', 'bond0', 'bond0'), found('management', 'bond0.20', 'eth7')]
    expect(sharesPodsLink(spec, 'management', uplinks)).toBe(false)
    const vlan = { ...spec, uplinks: { ...spec.uplinks, storage: { interface: 'san', rate: '1G' } } }
    const both = [found('pods', 'bond0', 'bond0'), found('storage', 'san', 'bond0', { vlan: 30 })]
    expect(planeReserves(vlan, both)).toEqual([
      { plane: 'management', rate: 1e8 },
      { plane: 'storage', rate: 1e9, vlan: 30 },
    ])
  })

  it('reserve nothing on a link of their own or without a rate', () => {
    expect(planeReserves(spec)).toEqual([{ plane: 'management', rate: 1e8 }])
    const silent = { ...spec, uplinks: { ...spec.uplinks, management: { interface: 'bond0.20', vlan: 20 } } }
    expect(planeReserves(silent)).toEqual([])
    expect(bandwidthForPods(1e9, [])).toBe(940_000_000)
  })

  it('are not promised to containers', () => {
    expect(nodeTotals(node(20e9)).bandwidth).toBe(promisableBandwidth(20e9) - 1e8)
    expect(nodeTotals(node(50e6)).bandwidth).toBe(0)
  })
})

describe('the rate of the pods uplink', () => {
  const undeclared = { ...spec, uplinks: { pods: { interface: 'bond0' } } }
  it.each<[string, Node, number | undefined]>([
    ['is what the agent finds where that is less than declared', node(10e9), 10e9],
    ['is never more than declared', node(40e9), 20e9],
    ['is as declared when the kernel does not know', node(0), 20e9],
    ['is nothing without carrier', node(20e9, false), 0],
    ['is what the agent finds where nothing is declared', node(25e9, true, undeclared), 25e9],
    ['is not known when nobody says', node(0, true, undeclared), undefined],
  ])('%s', (_what, given, rate) => {
    expect(linkRateOf(given)).toBe(rate)
  })

  it('is as declared before the agent reports', () => {
    expect(linkRateOf({ ...node(1), status: {} })).toBe(20e9)
  })
})

describe('the verdict about promises', () => {
  const amounts = (bandwidth: number): Amounts => ({ ...nothing, bandwidth })
  it('tells in numbers what is kept', () => {
    expect(judgePromises(node(20e9), amounts(6e8), amounts(9.4e8))).toMatchObject({ state: true, reason: 'AllFit' })
    expect(judgePromises(node(5e8), amounts(6e8), amounts(4.7e8))).toMatchObject({
      state: false,
      reason: 'LinkTooSlow',
      message:
        '600 Mbit/s of floors were promised and the uplink bond0 now has 470 Mbit/s for them: 78 % of each floor is kept.',
    })
    expect(judgePromises(node(0, false), amounts(6e8), amounts(0))).toMatchObject({
      state: false,
      reason: 'UplinkDown',
      share: 0,
    })
  })

  it('has nothing to say against a link that is down while nothing is promised', () => {
    expect(judgePromises(node(0, false), amounts(0), amounts(0)).state).toBe(true)
  })
})
