import { quantile } from '../statistics.ts'
import type { Measurement } from '../suite.ts'
import type { FloorVerdict } from './floor-windows.ts'

/** A verdict as the row of its windows. */
export function describeWindows({ windows, attained, missedSeconds, lowest }: FloorVerdict): Measurement {
  const missed = missedSeconds.length > 0 ? `; missed in second ${missedSeconds.join(', ')} of the demand` : ''
  return shareOfWindows(attained, windows, `lowest window ${(100 * lowest).toFixed(1)} % of the floor${missed}`)
}

/** A verdict as the row of the time until the full floor. */
export function describeUntilFull({ untilFull }: FloorVerdict): Measurement {
  const worst = Math.max(...untilFull)
  if (!Number.isFinite(worst)) {
    return { reason: 'the full floor never came in at least one of the times that gold sent' }
  }
  const median = quantile(untilFull, 0.5).toFixed(0)
  return { value: worst, detail: `worst of ${untilFull.length}, median ${median} ms, 100 ms of it to see it` }
}

/** Windows that were attained, in percent of those with demand. */
export function shareOfWindows(attained: number, windows: number, more: string): Measurement {
  if (windows === 0) return { reason: 'there was not one window with demand' }
  return { value: (100 * attained) / windows, detail: `${attained} of ${windows} windows, ${more}` }
}
