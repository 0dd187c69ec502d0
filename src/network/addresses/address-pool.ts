import { contains, intersect, sizeOf, subtract, type AddressRange } from './address-range.ts'

/**
 * The free addresses of one subnet, in memory, without listing them.
 *
 * Every address of the ranges is in one of three states: taken; released (in a queue, oldest first); or untouched.
 * A cursor walks over the untouched ones once and the queue is used after it, so a released address comes back last.
 * `propose` costs amortised constant time also when nearly everything is taken, and memory grows with the claims,
 * not with the range, so a /64 costs no more than a /24.
 *
 * A proposal is only a proposal: the claim's name in the store decides.
 */
export class AddressPool {
  #ranges: AddressRange[]
  /** What the cursor has still to walk over; it stands at the start of the first and moves it: own copies. */
  #untouched: AddressRange[]
  readonly #taken = new Set<bigint>()
  /** Released addresses with their place in the queue; a queue entry whose number differs here is stale. */
  readonly #released = new Map<bigint, number>()
  #queue: { address: bigint; number: number }[] = []
  #head = 0
  #number = 0
  #takenInside = 0

  /** `ranges` are disjoint and hold nothing reserved. `after`: the address handed out last, to go on behind it. */
  constructor(ranges: AddressRange[], after?: bigint) {
    this.#ranges = ranges
    const later = after === undefined ? ranges : ranges.flatMap((range) => behind(range, after))
    this.#untouched = [...later, ...subtract(ranges, later)].map((range) => ({ ...range }))
  }

  /** How many addresses there are, taken or not. */
  get total(): bigint {
    return sizeOf(this.#ranges)
  }

  /** How many addresses of the ranges are taken. */
  get used(): number {
    return this.#takenInside
  }

  /** Takes a free address and returns it; undefined when there is none. */
  propose(): bigint | undefined {
    const address = this.#nextUntouched() ?? this.#nextReleased()
    if (address !== undefined) this.#mark(address)
    return address
  }

  /** Takes one address; false when it was taken before. Addresses outside of the ranges are remembered too. */
  take(address: bigint): boolean {
    if (this.#taken.has(address)) return false
    this.#released.delete(address)
    this.#mark(address)
    return true
  }

  /** Gives an address back; it will be proposed after all others that are free now. */
  release(address: bigint): void {
    if (!this.#taken.delete(address) || !contains(this.#ranges, address)) return
    this.#takenInside -= 1
    this.#released.set(address, ++this.#number)
    this.#queue.push({ address, number: this.#number })
  }

  /** Changes the ranges, keeping what is taken and the order in which the rest comes. */
  setRanges(ranges: AddressRange[]): void {
    const added = subtract(ranges, this.#ranges).map((range) => ({ ...range }))
    this.#untouched = [...intersect(this.#untouched, ranges), ...added]
    this.#ranges = ranges
    for (const address of [...this.#released.keys()]) {
      if (!contains(ranges, address)) this.#released.delete(address)
    }
    this.#takenInside = [...this.#taken].filter((address) => contains(ranges, address)).length
  }

  #mark(address: bigint): void {
    this.#taken.add(address)
    if (contains(this.#ranges, address)) this.#takenInside += 1
  }

  #nextUntouched(): bigint | undefined {
    for (let range = this.#untouched[0]; range; range = this.#untouched[0]) {
      while (range.start <= range.end) {
        const address = range.start
        range.start += 1n
        if (!this.#taken.has(address) && !this.#released.has(address)) return address
      }
      this.#untouched.shift()
    }
    return undefined
  }

  #nextReleased(): bigint | undefined {
    while (this.#head < this.#queue.length) {
      const { address, number } = this.#queue[this.#head++]!
      if (this.#head > 1024 && this.#head * 2 > this.#queue.length) this.#forgetHead()
      if (this.#released.get(address) !== number) continue
      this.#released.delete(address)
      return address
    }
    return undefined
  }

  #forgetHead(): void {
    this.#queue = this.#queue.slice(this.#head)
    this.#head = 0
  }
}

function behind(range: AddressRange, after: bigint): AddressRange[] {
  if (after < range.start) return [range]
  return after >= range.end ? [] : [{ start: after + 1n, end: range.end }]
}
