import { describe, expect, test } from 'vitest'
import { createLogger } from '../base/index.ts'
import { zeroCounters } from './counters.ts'
import { attainmentOf, createEndpointMetrics, type EndpointReading } from './metrics.ts'
import { createRateSampler, ratesBetween } from './rates.ts'

function reading(overrides: Partial<EndpointReading> = {}): EndpointReading {
  return {
    namespace: 'shop',
    name: 'web-0',
    networkName: 'blue',
    bandwidthFloor: 500e6,
    counters: { ...zeroCounters('u1'), sentBytes: 1000, windows: { withDemand: 4, attained: 3 } },
    ...overrides,
  }
}

describe('metrics', () => {
  test('have help, labels and the values of now, from the first scrape on', async () => {
    let readings = [reading()]
    readings[0]!.counters.drops['spoofed-ip'] = 7
    readings[0]!.receiveWindows = { withDemand: 8, attained: 6 }
    const metrics = createEndpointMetrics(() => readings, {
      repaired: () => new Map([['FilterMissing', 2]]),
      problems: () => [{}],
    })
    const first = await metrics.metrics()
    expect(first).toContain('# HELP carbonado_endpoint_sent_bytes_total Bytes that the container sent.')
    const labels = 'namespace="shop",endpoint="web-0",network="blue"'
    expect(first).toContain(`carbonado_endpoint_sent_bytes_total{${labels}} 1000`)
    expect(first).toContain(`carbonado_endpoint_drops_total{${labels},reason="spoofed-ip"} 7`)
    expect(first).toContain(`carbonado_endpoint_promised_bits_per_second{${labels}} 500000000`)
    expect(first).toContain(`carbonado_endpoint_attainment_ratio{${labels}} 0.75`)
    expect(first).toContain(`carbonado_endpoint_receive_attainment_ratio{${labels}} 0.75`)
    expect(first).toContain(`carbonado_endpoint_receive_windows_with_demand_total{${labels}} 8`)
    expect(first).toContain(`carbonado_endpoint_receive_windows_attained_total{${labels}} 6`)
    expect(first).toContain('carbonado_endpoints_attached 1')
    expect(first).toContain('carbonado_drift_repaired_total{reason="FilterMissing"} 2')
    expect(first).toContain('carbonado_drift_unrepaired 1')
    expect(first).not.toContain('carbonado_endpoint_cap_bits_per_second{')
    readings = []
    const second = await metrics.metrics()
    expect(second).not.toContain('web-0')
    expect(second).toContain('carbonado_endpoints_attached 0')
  })

  test('attainment is unknown before the first window with demand', () => {
    expect(attainmentOf({ withDemand: 0, attained: 0 })).toBeUndefined()
    expect(attainmentOf({ withDemand: 10, attained: 10 })).toBe(1)
  })
})

describe('rates', () => {
  test('are bits per second, and nothing when counters begin anew', () => {
    const before = { ...zeroCounters('u1'), sentBytes: 1000, receivedBytes: 500 }
    const after = { ...zeroCounters('u1'), sentBytes: 3000, receivedBytes: 100, deliveredBytes: 1000 }
    expect(ratesBetween(before, after, 2)).toEqual({ sent: 8000, received: 0, delivered: 4000, drops: {} })
  })

  test('tell drops by reason, of those that rise', () => {
    const drops = { ...zeroCounters('u1').drops, cap: 7 }
    const before = { ...zeroCounters('u1'), drops }
    const after = { ...before, drops: { ...drops, 'spoofed-ip': 10, protocol: 1 } }
    expect(ratesBetween(before, after, 2).drops).toEqual({ 'spoofed-ip': 5, protocol: 1 })
  })

  test('are sampled', async () => {
    let sentBytes = 0
    const seen: number[] = []
    const sampler = createRateSampler(
      { counters: () => [{ ...zeroCounters('u1'), sentBytes: (sentBytes += 1000) }] },
      createLogger('test', 'silent'),
      (readings) => seen.push(readings.length),
      5,
    )
    expect(sampler.rates('u1')).toEqual({ sent: 0, received: 0, delivered: 0, drops: {} })
    sampler.start()
    await expect.poll(() => sampler.rates('u1').sent, { interval: 5 }).toBeGreaterThan(0)
    sampler.stop()
    expect(seen[0]).toBe(1)
    expect(sampler.rates('unknown').sent).toBe(0)
  })
})
