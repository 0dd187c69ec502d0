import { expect, it } from 'vitest'
import { regularly } from './regularly.ts'

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
  const timer = regularly(work, 1, (error) => told.push(error))
  await expect.poll(() => times, { interval: 1 }).toBeGreaterThan(3)
  clearInterval(timer)
  expect(told).toEqual([new Error('time 1'), new Error('time 2')])
})
