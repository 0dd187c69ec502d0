import type { Drive } from '../../api/index.ts'
import type { EntryUsage, Pool } from '../pool-format.ts'
import { FreedSpace } from './freed-space.ts'
import type { RisingClock } from './rising-clock.ts'

/** What is reported of a pool. */
type PoolReport = NonNullable<NonNullable<NonNullable<Drive['status']>['agent']>['pool']>

/** Measures what is used in the pools of this node, and what of that is held by more than one volume. */
export class PoolMeter {
  readonly #clock: RisingClock
  readonly #freed = new FreedSpace()
  readonly #usage = new Map<string, EntryUsage>()

  constructor(clock: RisingClock) {
    this.#clock = clock
  }

  /** What an entry of a pool took when it was measured last. */
  usageOf(entryId: string): EntryUsage | undefined {
    return this.#usage.get(entryId)
  }

  /** Does what gives space of a pool back: a measurement meanwhile would not fit together. */
  freeing(driveName: string, work: () => Promise<void>): Promise<void> {
    return this.#freed.during(driveName, work)
  }

  /** A measurement that is in the store already: later ones are later. */
  seen(report: PoolReport | undefined): void {
    this.#clock.seen(report?.measuredAt)
  }

  /**
   * The pool as it is now. While space is given back the last measurement stands, with `measuredAt`: what it promised
   * too little of is promised after the next one. Without any, everything in use counts as held. Throws what the pool does.
   */
  async measure(driveName: string, pool: Pool, before: PoolReport | undefined): Promise<PoolReport> {
    const measured = await this.#freed.readStill(driveName, () => this.#measureOnce(pool))
    if (measured) return measured
    if (before?.id === pool.id) return before
    const measuredAt = this.#clock.now()
    const space = await pool.space()
    return { id: pool.id, format: pool.format, ...space, held: space.used, measuredAt }
  }

  /**
   * What volumes own alone is read between two readings of the sum, and the larger of these counts: so writes and
   * discards meanwhile only make `held` larger than it is.
   */
  async #measureOnce(pool: Pool): Promise<PoolReport> {
    const measuredAt = this.#clock.now()
    const before = await pool.space()
    const own = await this.#readOwn(pool)
    const after = await pool.space()
    const held = Math.max(0, Math.max(before.used, after.used) - own)
    return { id: pool.id, format: pool.format, ...after, held, measuredAt }
  }

  /** Bytes that volumes own alone, all of them together. What is not known of is not counted, and so is held. */
  async #readOwn(pool: Pool): Promise<number> {
    const usages = await pool.usages().catch(() => new Map<string, EntryUsage>())
    for (const [id, usage] of usages) this.#usage.set(id, usage)
    const volumes = (await pool.list()).filter(({ kind }) => kind === 'volume')
    return volumes.reduce((sum, { id }) => sum + (usages.get(id)?.own ?? 0), 0)
  }
}
