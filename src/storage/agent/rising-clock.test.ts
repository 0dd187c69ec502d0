import { expect, it, vi } from 'vitest'
import { RisingClock } from './rising-clock.ts'

it('never goes back, whatever the clock of the machine does', () => {
  vi.useFakeTimers({ now: 1_000_000 })
  try {
    const clock = new RisingClock()
    const first = clock.now()
    expect(first).toBe('1970-01-01T00:16:40.000Z')
    vi.setSystemTime(500_000)
    const second = clock.now()
    clock.seen('1970-01-01T01:00:00.000Z')
    clock.seen(undefined)
    const third = clock.now()
    expect([first, second, third]).toEqual([first, '1970-01-01T00:16:40.001Z', '1970-01-01T01:00:00.001Z'])
    vi.setSystemTime(1e12)
    expect(clock.now()).toBe('2001-09-09T01:46:40.000Z')
  } finally {
    vi.useRealTimers()
  }
})
