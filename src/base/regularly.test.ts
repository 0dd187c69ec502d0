import { afterEach, expect, it, vi } from 'vitest'
import { regularly } from './regularly.ts'

afterEach(() => void vi.useRealTimers())

it.each([
  ['throws', (error: Error) => { throw error }], // prettier-ignore
  ['rejects', (error: Error) => Promise.reject(error)],
])('what %s is told, and it goes on', async (_, fail) => {
  const told: unknown[] = []
  let times = 0
  const work = (): void | Promise<void> => {
    times += 1
    if (times < 3) return fail(new Error(`time ${times}`))
  }
  const regular = regularly(work, 1, (error) => told.push(error))
  await expect.poll(() => times, { interval: 1 }).toBeGreaterThan(3)
  await regular.stop()
  expect(told).toEqual([new Error('time 1'), new Error('time 2')])
})

it('different intervals that were begun at different times share their wake-ups', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const wokenAt: Record<number, number[]> = { 500: [], 1000: [], 2000: [] }
  const started = Object.entries(wokenAt).map(([interval, times]) => {
    vi.advanceTimersByTime(123)
    return regularly(
      () => void times.push(performance.now()),
      Number(interval),
      () => {},
    )
  })
  await vi.advanceTimersByTimeAsync(5_000)
  for (const regular of started) await regular.stop()
  await vi.advanceTimersByTimeAsync(5_000)
  expect(wokenAt).toEqual({
    500: [500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000],
    1000: [1000, 2000, 3000, 4000, 5000],
    2000: [2000, 4000],
  })
})

it('what takes longer is not begun again meanwhile, and the end waits for it', async () => {
  const held = Promise.withResolvers<void>()
  let [begun, ended] = [0, false]
  const regular = regularly(
    async () => {
      begun += 1
      await held.promise
      ended = true
    },
    1,
    () => {},
  )
  await expect.poll(() => begun, { interval: 1 }).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 20))
  const stopped = regular.stop().then(() => expect(ended).toBe(true))
  held.resolve()
  await stopped
  expect(begun).toBe(1)
})
