import { windowsBetween, type Windows } from './attainment.ts'

/** How much is remembered, and how finely. */
export interface WindowHistoryShape {
  /** Milliseconds of one bucket. */
  bucket: number
  /** Buckets that are remembered, the one that is being filled included. */
  buckets: number
}

/** One reading of the counters of a promise. */
export interface WindowReading {
  id: string
  windows: Windows
}

/** Windows of the remembered time, and since when (milliseconds, as `record` was told) it is known. */
export interface RecentWindows extends Windows {
  since: number
}

/** A history as it is kept in a file; `fills` are the buckets from the oldest on, base64 of 16-bit pairs. */
export interface SavedHistory {
  at: number
  promises: { id: string; since: number; last: [withDemand: number, attained: number]; fills: string }[]
}

interface Remembered {
  since: number
  last: Windows
  /** Number of the reading that had it last. */
  reading: number
  /** Windows with demand and attained, alternating, of the buckets of a ring. */
  ring: Uint16Array
}

const most = 0xffff

/**
 * The windows of many promises over the recent past, from counters that only grow: a ring of buckets for each, four bytes
 * a bucket. Readings may come at any time; what passed between two that are far apart is spread over the time between.
 */
export class WindowHistory {
  readonly #shape: WindowHistoryShape
  readonly #promises = new Map<string, Remembered>()
  /** Number of the bucket that is being filled. */
  #current = 0
  #readAt: number | undefined
  #reading = 0

  constructor(shape: WindowHistoryShape) {
    this.#shape = shape
  }

  /**
   * Takes readings of all promises there are; `now` in milliseconds of a clock that does not go back. A promise that is
   * seen for the first time begins here, one that is missing is forgotten.
   */
  record(now: number, readings: WindowReading[]): void {
    const before = this.#readAt ?? now
    this.#advanceTo(now)
    const reading = ++this.#reading
    for (const { id, windows } of readings) {
      const known = this.#promises.get(id)
      if (!known) {
        const ring = new Uint16Array(2 * this.#shape.buckets)
        this.#promises.set(id, { since: now, last: { ...windows }, ring, reading })
        continue
      }
      known.reading = reading
      // most promises have had no window since: nothing is made for them
      if (known.last.withDemand === windows.withDemand && known.last.attained === windows.attained) continue
      this.#add(known, windowsBetween(known.last, windows), before)
      known.last = { ...windows }
    }
    for (const [id, known] of this.#promises) if (known.reading !== reading) this.#promises.delete(id)
    this.#readAt = now
  }

  /** The windows of a promise in the remembered time before the last reading; undefined when it is not known. */
  recent(id: string): RecentWindows | undefined {
    const known = this.#promises.get(id)
    if (!known) return undefined
    const sum = { withDemand: 0, attained: 0 }
    for (let at = 0; at < known.ring.length; at += 2) {
      sum.withDemand += known.ring[at]!
      sum.attained += known.ring[at + 1]!
    }
    return { ...sum, since: Math.max(known.since, this.#oldest) }
  }

  /** What the counter of each promise said at the last reading. */
  totals(): Map<string, Windows> {
    return new Map([...this.#promises].map(([id, { last }]) => [id, { ...last }]))
  }

  /** For `WindowHistory.restore`. */
  save(): SavedHistory {
    const promises = [...this.#promises].map(([id, { since, last, ring }]) => ({
      id,
      since,
      last: [last.withDemand, last.attained] as [number, number],
      fills: Buffer.from(this.#ordered(ring).buffer).toString('base64'),
    }))
    return { at: this.#readAt ?? 0, promises }
  }

  /**
   * Takes up what an earlier process saved; anything that is not a history of this shape is left out. One from the future
   * (the clock was set back meanwhile) is taken as of `now`.
   */
  restore(saved: unknown, now: number): void {
    const { at, promises } = (saved ?? {}) as Partial<SavedHistory>
    if (!Number.isFinite(at) || !Array.isArray(promises)) return
    this.#readAt = Math.min(Math.max(at!, 0), now)
    this.#current = Math.floor(this.#readAt / this.#shape.bucket)
    for (const promise of promises) this.#restoreOne(promise)
  }

  #restoreOne(promise: SavedHistory['promises'][number]): void {
    if (typeof promise !== 'object' || promise === null) return
    const { id, since, last, fills } = promise
    const bytes = Buffer.from(typeof fills === 'string' ? fills : '', 'base64')
    const [withDemand, attained] = Array.isArray(last) ? last : []
    const isWhole = bytes.length === 4 * this.#shape.buckets && typeof id === 'string'
    if (!isWhole || ![since, withDemand, attained].every((number) => Number.isFinite(number))) return
    const ring = new Uint16Array(2 * this.#shape.buckets)
    for (let index = 0; index < this.#shape.buckets; index++) {
      const at = this.#slotOf(this.#current - this.#shape.buckets + 1 + index)
      ring[at] = bytes.readUInt16LE(4 * index)
      ring[at + 1] = bytes.readUInt16LE(4 * index + 2)
    }
    this.#promises.set(id, { since, last: { withDemand: withDemand!, attained: attained! }, ring, reading: 0 })
  }

  get #oldest(): number {
    return (this.#current - this.#shape.buckets + 1) * this.#shape.bucket
  }

  #slotOf(bucket: number): number {
    const { buckets } = this.#shape
    return 2 * (((bucket % buckets) + buckets) % buckets)
  }

  #ordered(ring: Uint16Array): Uint16Array {
    const ordered = new Uint16Array(ring.length)
    for (let index = 0; index < this.#shape.buckets; index++) {
      const at = this.#slotOf(this.#current - this.#shape.buckets + 1 + index)
      ordered.set(ring.subarray(at, at + 2), 2 * index)
    }
    return ordered
  }

  #advanceTo(now: number): void {
    const target = Math.max(this.#current, Math.floor(now / this.#shape.bucket))
    const steps = Math.min(target - this.#current, this.#shape.buckets)
    for (const { ring } of this.#promises.values()) {
      for (let step = 0; step < steps; step++) {
        const at = this.#slotOf(target - step)
        ring.fill(0, at, at + 2)
      }
    }
    this.#current = target
  }

  /** Spreads what is new evenly over the buckets since the reading before; what fell out of the ring is forgotten. */
  #add({ ring }: Remembered, { withDemand, attained }: Windows, before: number): void {
    const first = Math.min(Math.floor(before / this.#shape.bucket), this.#current)
    const spread = this.#current - first + 1
    const share = (total: number, index: number): number =>
      Math.floor((total * (index + 1)) / spread) - Math.floor((total * index) / spread)
    for (let index = Math.max(0, spread - this.#shape.buckets); index < spread; index++) {
      const at = this.#slotOf(first + index)
      ring[at] = Math.min(most, ring[at]! + share(withDemand, index))
      ring[at + 1] = Math.min(most, ring[at + 1]! + share(attained, index))
    }
  }
}
