/** One-second windows with demand, and those of them in which the floor was delivered. */
export interface Windows {
  withDemand: number
  attained: number
}

/** Share of the windows with demand in which the floor was delivered, 0 to 1; undefined when nothing was asked for. */
export function attainment(windows: Windows): number | undefined {
  if (windows.withDemand <= 0) return undefined
  return Math.min(1, Math.max(0, windows.attained / windows.withDemand))
}

/** The windows between two readings of a counter; a counter that started again counts from zero. */
export function windowsBetween(earlier: Windows, later: Windows): Windows {
  if (later.withDemand < earlier.withDemand || later.attained < earlier.attained) return { ...later }
  return { withDemand: later.withDemand - earlier.withDemand, attained: later.attained - earlier.attained }
}

/** All windows of several endpoints together. */
export function sumOfWindows(parts: Iterable<Windows>): Windows {
  const sum = { withDemand: 0, attained: 0 }
  for (const part of parts) {
    sum.withDemand += part.withDemand
    sum.attained += part.attained
  }
  return sum
}

/**
 * Writes attainment for people: `99.7%`, or `-` when nothing was asked for. Rounds down, so that only a promise that
 * was always kept reads 100%.
 */
export function formatAttainment(windows: Windows): string {
  const share = attainment(windows)
  if (share === undefined) return '-'
  return `${Math.floor(share * 1000) / 10}%`
}
