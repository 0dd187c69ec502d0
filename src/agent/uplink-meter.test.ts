import { expect, test } from 'vitest'
import { createUplinkMeter } from './uplink-meter.ts'

test('a busy uplink in bits per second, whenever it is sampled; a counter that began again is nothing', () => {
  let bytes = { sent: 1_000, received: 0 }
  let now = 0
  const meter = createUplinkMeter(
    'eth-of-the-test',
    () => bytes,
    () => now,
  )
  const link = { linkRate: 1e9, carrier: false }
  expect(meter.read(link, 4e8)).toEqual({
    interface: 'eth-of-the-test', carrier: false, rate: 1e9, promised: 4e8, sent: 0, received: 0,
  }) // prettier-ignore
  bytes = { sent: 251_000, received: 125_000 }
  now = 2_000
  meter.sample()
  expect(meter.read(link, 4e8)).toMatchObject({ sent: 1_000_000, received: 500_000 })
  meter.sample() // at the same moment
  expect(meter.read(link, 0)).toMatchObject({ sent: 1_000_000 })
  bytes = { sent: 0, received: 250_000 }
  now = 3_000
  meter.sample()
  expect(meter.read(link, 0)).toMatchObject({ sent: 0, received: 1_000_000 })
})
