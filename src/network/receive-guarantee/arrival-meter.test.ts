import { expect, it } from 'vitest'
import type { Arrival } from '../receive-control.ts'
import { ArrivalMeter } from './arrival-meter.ts'

const arrival = (sourceMac: string, slot: number, bytes: number, endpointId?: string): Arrival => ({
  sourceMac,
  vlan: 1,
  slot,
  endpointId,
  bytes,
  wireBytes: bytes + 28,
})
const nodeOf = ({ sourceMac }: { sourceMac: string }): string | undefined => (sourceMac === 'far' ? undefined : 'n2')

it('tells rates by receiver and sending node, and what is from outside and for nobody', () => {
  const meter = new ArrivalMeter()
  expect(meter.measure(0, [], nodeOf)).toBeUndefined()
  const arrivals = [arrival('a', 1, 972, 'one'), arrival('b', 1, 972, 'one'), arrival('far', 2, 72, 'two'), arrival('a', 0, 22)]
  expect(meter.measure(1000, arrivals, nodeOf)).toEqual({
    seconds: 1,
    flows: [
      { receiver: 'one', node: 'n2', rate: 16_000, frameRate: 2 * 972 * 8, wasHeldBack: false },
      { receiver: 'two', node: undefined, rate: 800, frameRate: 576, wasHeldBack: false },
    ],
    other: 400,
    ofNode: new Map([[1, 400]]),
    outside: 800,
  })
  expect(meter.measure(2000, arrivals, nodeOf)).toMatchObject({ flows: [], other: 0 })
}) // prettier-ignore

it('keeps apart what one source sent to several endpoints that have gone', () => {
  const meter = new ArrivalMeter()
  const arrivals = [arrival('a', 0, 100), arrival('a', 5, 1e9), arrival('a', 6, 2e9)]
  for (const now of [0, 25, 50]) meter.measure(now, arrivals, nodeOf)
  expect(meter.measure(75, arrivals, nodeOf)).toMatchObject({ flows: [], other: 0 })
})

it('does not take for traffic what an earlier endpoint of the same slot had received', () => {
  const meter = new ArrivalMeter()
  meter.measure(0, [arrival('a', 3, 1e9, 'earlier')], nodeOf)
  expect(meter.measure(1000, [arrival('a', 3, 1e9 + 125, 'later')], nodeOf)!.flows).toMatchObject([
    { receiver: 'later', frameRate: 1000 },
  ])
})

it('names what has been silent for a minute once', () => {
  const meter = new ArrivalMeter()
  for (let now = 0; now <= 61_000; now += 1000) meter.measure(now, [arrival('a', 1, 100), arrival('b', 1, now)], nodeOf)
  expect(meter.takeSilent(62_000)).toMatchObject([{ sourceMac: 'a' }])
  expect(meter.takeSilent(62_001)).toEqual([])
})
