import { describe, expect, it } from 'vitest'
import { portBuffer } from './switch.ts'

describe('portBuffer', () => {
  it('passes a GSO packet of 64 KiB in one piece at any rate', () => {
    const segments = Math.ceil(65536 / 1448)
    const gsoPacket = 65536 + segments * 66
    for (const rate of [1e6, 200e6, 1e9, 10e9, 100e9]) {
      const { burst, queue } = portBuffer(rate)
      expect(burst).toBeGreaterThan(gsoPacket)
      expect(queue).toBeGreaterThan(2 * gsoPacket)
    }
  })

  it('is shallow: no more than a millisecond at high rates', () => {
    expect(portBuffer(100e9)).toEqual({ burst: 12_500_000, queue: 12_500_000 })
    expect(portBuffer(1e9).queue).toBe(256 * 1024)
  })
})
