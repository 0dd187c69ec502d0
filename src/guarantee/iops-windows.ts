import type { Windows } from './attainment.ts'

/** Share of the floor from which on it counts as delivered, as for bandwidth. */
const attainedShare = 0.95
/** Milliseconds of a window. */
const length = 1_000

/** What was seen of a volume with a floor since the last look; operations per second. */
export interface IopsLook {
  id: string
  floor: number
  delivered: number
  /** Whether it asked for its floor; see `hasDemand`. */
  hasDemand: boolean
}

interface OpenWindow {
  begin: number
  operations: number
}

/**
 * Judges one-second windows of a volume's operations. There is demand as long as the floor is delivered or asked for; a
 * window is a second of demand on end. One in which nothing at all was delivered counts: that is a broken promise too.
 */
export class IopsWindows {
  readonly #windows = new Map<string, Windows>()
  readonly #open = new Map<string, OpenWindow>()
  #lookedAt: number | undefined

  /** Takes what was seen since the last look; `now` in milliseconds of a clock that never jumps. */
  look(now: number, looks: IopsLook[]): void {
    const before = this.#lookedAt ?? now
    for (const look of looks) {
      if (look.hasDemand || look.delivered >= look.floor * attainedShare) this.#extend(look, before, now)
      else this.#open.delete(look.id)
    }
    const ids = new Set(looks.map(({ id }) => id))
    for (const map of [this.#windows, this.#open]) for (const id of map.keys()) if (!ids.has(id)) map.delete(id)
    this.#lookedAt = now
  }

  /** Windows of a volume since it was first seen. */
  of(id: string): Windows {
    return this.#windows.get(id) ?? { withDemand: 0, attained: 0 }
  }

  #extend({ id, floor, delivered }: IopsLook, before: number, now: number): void {
    const open = this.#open.get(id) ?? { begin: before, operations: 0 }
    open.operations += (delivered * (now - before)) / 1000
    this.#open.set(id, open)
    const milliseconds = now - open.begin
    if (milliseconds < length) return
    const { withDemand, attained } = this.of(id)
    const isAttained = (open.operations * 1000) / milliseconds >= floor * attainedShare
    this.#windows.set(id, { withDemand: withDemand + 1, attained: attained + (isAttained ? 1 : 0) })
    this.#open.delete(id)
  }
}
