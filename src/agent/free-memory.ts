import koffi from 'koffi'
import type { Part } from './parts.ts'

/** Milliseconds until the first time, and between two: what a storm of containers left is given back soon after it. */
const firstAfter = 10_000
const interval = 60_000

/** Calls back when all is done. */
type Trim = (done: () => void) => void

/**
 * Gives memory that the C library keeps for later back to the system, on another thread: after a start that is some
 * 10 MB. C libraries that do not offer it (musl) keep little.
 */
export function createFreeMemory(): Part {
  const timers: NodeJS.Timeout[] = []
  const giveBack = (): void => void giveMemoryBack()
  return {
    name: 'free memory',
    start() {
      timers.push(setTimeout(giveBack, firstAfter).unref(), setInterval(giveBack, interval).unref())
    },
    stop: () => timers.forEach((timer) => clearTimeout(timer)),
  }
}

/** Does it once; resolves with whether the C library can. */
export function giveMemoryBack(): Promise<boolean> {
  trim ??= findTrim()
  const { call } = trim
  return call ? new Promise((resolve) => call(() => resolve(true))) : Promise.resolve(false)
}

let trim: { call: Trim | undefined } | undefined

function findTrim(): { call: Trim | undefined } {
  try {
    const found = koffi.load(null).func('int malloc_trim(size_t padding)')
    return { call: (done) => void found.async(0, done) }
  } catch {
    return { call: undefined }
  }
}
