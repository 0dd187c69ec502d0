/** An inclusive range of addresses of one family. */
export interface AddressRange {
  start: bigint
  end: bigint
}

/** How many addresses a list of disjoint ranges holds. */
export function sizeOf(ranges: AddressRange[]): bigint {
  return ranges.reduce((sum, { start, end }) => sum + end - start + 1n, 0n)
}

/** Whether an address lies in one of the ranges. */
export function contains(ranges: AddressRange[], address: bigint): boolean {
  return ranges.some(({ start, end }) => address >= start && address <= end)
}

/** What two lists of disjoint ranges have in common, in the order of the first. */
export function intersect(ranges: AddressRange[], others: AddressRange[]): AddressRange[] {
  return ranges.flatMap((range) =>
    others
      .map((other) => ({
        start: range.start > other.start ? range.start : other.start,
        end: range.end < other.end ? range.end : other.end,
      }))
      .filter(({ start, end }) => start <= end)
      .sort(byStart),
  )
}

/** What of the first list is not in the second, in the order of the first. */
export function subtract(ranges: AddressRange[], others: AddressRange[]): AddressRange[] {
  return others.reduce((rest, other) => rest.flatMap((range) => without(range, other)), ranges)
}

function without(range: AddressRange, other: AddressRange): AddressRange[] {
  if (other.end < range.start || other.start > range.end) return [range]
  return [
    { start: range.start, end: other.start - 1n },
    { start: other.end + 1n, end: range.end },
  ].filter(({ start, end }) => start <= end && start >= range.start && end <= range.end)
}

/** Orders ranges by their first address. */
export function byStart(a: AddressRange, b: AddressRange): number {
  return a.start < b.start ? -1 : a.start > b.start ? 1 : 0
}
