/** Bytes that arrived in a millisecond. */
export type Arrivals = readonly (readonly [millisecond: number, bytes: number])[]

/** A time in which there was demand, in milliseconds of the same clock. */
export interface Demand {
  begin: number
  end: number
}

/** What came of a floor. */
export interface FloorVerdict {
  /** One-second windows with demand; the first of a demand begins with it. */
  windows: number
  /** Those in which at least 95 % of the floor arrived. */
  attained: number
  /** For each window that was missed, which second of its demand it was, from 1. */
  missedSeconds: number[]
  /** The lowest share of the floor that arrived in a window. */
  lowest: number
  /** For each demand: milliseconds until the floor had arrived for 100 ms on end; Infinity when never. */
  untilFull: number[]
}

const window = 1000
const tolerance = 0.95
/** Milliseconds over which the rate is taken when the floor is looked for at the beginning of a demand. */
const span = 100

/** Judges what arrived against a floor in bytes per second (of the same kind of bytes as the arrivals). */
export function judgeFloor(arrivals: Arrivals, demands: readonly Demand[], floor: number): FloorVerdict {
  const arrivedBefore = cumulate(arrivals)
  const windows = demands.flatMap(({ begin, end }) => {
    const count = Math.floor((end - begin) / window)
    return Array.from({ length: count }, (_, index) => {
      const from = begin + index * window
      return { second: index + 1, share: (arrivedBefore(from + window) - arrivedBefore(from)) / floor }
    })
  })
  const missed = windows.filter(({ share }) => share < tolerance)
  return {
    windows: windows.length,
    attained: windows.length - missed.length,
    missedSeconds: missed.map(({ second }) => second),
    lowest: Math.min(...windows.map(({ share }) => share)),
    untilFull: demands.map((demand) => untilFull(arrivedBefore, demand, floor)),
  }
}

function untilFull(arrivedBefore: (time: number) => number, { begin, end }: Demand, floor: number): number {
  const wanted = (floor * span) / 1000
  for (let time = begin + span; time <= end; time++) {
    if (arrivedBefore(time) - arrivedBefore(time - span) >= wanted) return time - begin
  }
  return Infinity
}

/** A function that tells how many bytes had arrived before a time. */
function cumulate(arrivals: Arrivals): (time: number) => number {
  let sum = 0
  const steps = arrivals.map(([millisecond, bytes]) => ({ millisecond, before: sum, after: (sum += bytes) }))
  return (time) => {
    let [low, high] = [0, steps.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (steps[middle]!.millisecond < Math.floor(time)) low = middle + 1
      else high = middle
    }
    return steps[low]?.before ?? sum
  }
}
