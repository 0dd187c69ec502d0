import { formatRate } from '../../guarantee/index.ts'

/** A measured rate in bits per second for people; no more than three of its digits mean something. */
export function measuredRate(bitsPerSecond: number): string {
  return formatRate(Number(bitsPerSecond.toPrecision(3)))
}
