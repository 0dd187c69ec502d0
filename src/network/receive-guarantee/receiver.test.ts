import { beforeEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../base/index.ts'
import type { PlaneReserve } from '../../guarantee/index.ts'
import type { Arrival } from '../receive-control.ts'
import type { ReceiveLimits } from './limit-message.ts'
import { LimitPusher } from './limit-pusher.ts'
import { Receiver, type ReceivingEndpoint } from './receiver.ts'

/** A receiving node of 1 Gbit/s whose endpoints and planes get what this test says. */
let endpoints: ReceivingEndpoint[]
let reserves: PlaneReserve[]
let linkRate: number
let told: ReceiveLimits[]
let arrived: Map<string, Arrival>
let receiver: Receiver
let now: number

const mac = (number: number): string => `02:00:00:00:00:0${number}`
const endpoint = (number: number, bandwidthFloor: number): ReceivingEndpoint => ({ endpointId: `e${number}`, macAddress: mac(number), vlan: 100, bandwidthFloor }) // prettier-ignore

beforeEach(() => {
  ;[endpoints, reserves, linkRate, told, arrived, now] = [[], [], 1e9, [], new Map(), 0]
  const pusher = new LimitPusher('n1', (_node, limits) => { told.push(limits); return Promise.resolve({ uses: limits.limits.map(() => ({ passedBytes: 0, droppedBytes: 0 })) }) }, silentLogger()) // prettier-ignore
  receiver = new Receiver({
    nodeName: 'n1',
    linkRate: () => linkRate,
    reserves: () => reserves,
    control: {
      receivedBytes: () => [...arrived.values()].reduce((sum, each) => (each.slot > 0 ? sum + each.wireBytes : sum), 0),
      countArrivals: () => {},
      arrivals: () => [...arrived.values()].map((each) => ({ ...each })),
      forgetArrivals: () => {},
      limit: () => Promise.resolve(),
      lift: () => Promise.resolve(),
      use: () => undefined,
      sweep: () => Promise.resolve([]),
    },
    endpoints: () => endpoints,
    directory: { placeOf: () => ({ node: 'n2' }) },
    pusher,
    logger: silentLogger(),
  })
})

/** Lets bits per second arrive for slots (0 is the node itself) for some time, with a look every 25 ms; returns the limits. */
async function receive(milliseconds: number, rates: Record<number, number>, vlanOfNode = 0): Promise<number[]> {
  for (const end = now + milliseconds; now < end; now += 25) {
    for (const [slot, rate] of Object.entries(rates)) {
      const bytes = (arrived.get(slot)?.wireBytes ?? 0) + (rate * 0.025) / 8
      const vlan = slot === '0' ? vlanOfNode : 100
      const endpointId = slot === '0' ? undefined : `e${slot}`
      arrived.set(slot, {
        sourceMac: '02:00:00:00:99:99',
        vlan,
        slot: Number(slot),
        endpointId,
        bytes,
        wireBytes: bytes,
      })
    }
    receiver.look(now)
    await Promise.resolve()
  }
  await new Promise((resolve) => setImmediate(resolve))
  return told.at(-1)?.limits.map(({ rate }) => rate) ?? []
}

const sum = (rates: number[]): number => rates.reduce((total, rate) => total + rate, 0)

describe('a node without floors', () => {
  it('lets everything come while it keeps nothing for another plane', async () => {
    endpoints = [endpoint(1, 0)]
    expect(await receive(2_000, { 1: 990e6 })).toEqual([])
  })

  it('leaves room for a plane that it keeps something for, found by its VLAN', async () => {
    endpoints = [endpoint(1, 0)]
    reserves = [{ plane: 'storage', rate: 300e6, vlan: 30 }]
    const silent = sum(await receive(2_000, { 1: 960e6 }, 30))
    expect(silent).toBeGreaterThan(0.9 * 0.97e9)
    const growing = sum(await receive(200, { 0: 40e6, 1: 930e6 }, 30))
    expect(growing).toBeLessThan(0.97e9 - 300e6)
    expect(growing).toBeGreaterThan(600e6)
  })

  it('takes nothing else for what the plane receives', async () => {
    endpoints = [endpoint(1, 0)]
    reserves = [{ plane: 'storage', rate: 300e6, vlan: 30 }]
    await receive(2_000, { 1: 960e6 }, 31)
    expect(sum(await receive(200, { 0: 40e6, 1: 930e6 }, 31))).toBeGreaterThan(0.85 * 0.97e9)
  })
})

it('a link that gives less than was promised is shared among receivers in proportion', async () => {
  endpoints = [endpoint(1, 600e6), endpoint(2, 300e6)]
  linkRate = 500e6
  const limits = await receive(3_000, { 1: 250e6, 2: 250e6 })
  expect(limits).toHaveLength(2)
  expect(sum(limits)).toBeLessThanOrEqual(0.98 * linkRate)
  expect(limits[0]! / limits[1]!).toBeGreaterThan(1.6)
})
