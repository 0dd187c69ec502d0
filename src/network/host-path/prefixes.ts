import { addressBits, formatCidr, type AddressRange, type Family } from '../addresses/index.ts'

/** The fewest CIDRs that hold exactly the addresses of some ranges; a pure function. */
export function prefixesOf(family: Family, ranges: AddressRange[]): string[] {
  return ranges.flatMap((range) => [...prefixesOfRange(family, range)])
}

function* prefixesOfRange(family: Family, { start, end }: AddressRange): Generator<string> {
  const bits = addressBits[family]
  for (let first = start; first <= end;) {
    let prefixLength = bits
    let last = first
    for (let wider = prefixLength - 1; wider >= 0; wider--) {
      const size = 1n << BigInt(bits - wider)
      if (first % size !== 0n || first + size - 1n > end) break
      prefixLength = wider
      last = first + size - 1n
    }
    yield formatCidr({ family, prefixLength, first, last })
    first = last + 1n
  }
}
