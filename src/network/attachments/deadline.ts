import { Unavailable } from '../../base/index.ts'

/**
 * Resolves like `work`, or throws Unavailable after some milliseconds. The work itself goes on: whoever uses this must
 * be able to live with an effect that comes late.
 */
export async function withDeadline<T>(work: Promise<T>, milliseconds: number, what: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(
      new Unavailable(`${what} took longer than ${milliseconds / 1000} s`, {
        remedy: 'Try again; if it stays so, look whether control runs and can be reached from this node.',
      }),
    )
  }, milliseconds)
  work.catch(() => {}) // when it loses the race, nobody else looks at it
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
