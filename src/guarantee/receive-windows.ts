import type { Windows } from './attainment.ts'

/** Share of the floor from which on it counts as delivered, as for sending. */
const attainedShare = 0.95
/** Milliseconds of a window. */
const length = 1_000
/** Milliseconds between two looks from which on nobody knows what was in between. */
const longestGap = 500

/** What was seen of a receiver with a floor between two looks. */
export interface ReceiveLook {
  id: string
  /** Bits per second of frames. */
  floor: number
  delivered: number
  /** Whether something stood between it and more: see `ReceiveWindows`. */
  wasHeldBack: boolean
}

interface OpenWindow {
  begin: number
  /** Bits of frames. */
  bits: number
}

/**
 * Judges one-second windows of receiving. There is demand as long as the floor is delivered, or something arrives and more
 * of it is held back: by a limit that a sending node keeps for the receiver, or by the link, which is full, so that the
 * switch loses what nobody counts. A window is a second of demand on end.
 */
export class ReceiveWindows {
  readonly #windows = new Map<string, Windows>()
  readonly #open = new Map<string, OpenWindow>()
  #lookedAt = -Infinity

  /** Takes what was seen since the last look; `now` in milliseconds of a clock that never jumps. */
  look(now: number, looks: ReceiveLook[]): void {
    const milliseconds = now - this.#lookedAt
    if (milliseconds > longestGap) this.#open.clear()
    for (const { id, floor, delivered, wasHeldBack } of milliseconds > longestGap ? [] : looks) {
      const isDelivered = delivered >= floor * attainedShare
      if (isDelivered || (wasHeldBack && delivered > 0)) this.#extend(id, floor, (delivered * milliseconds) / 1000, now)
      else this.#open.delete(id)
    }
    const ids = new Set(looks.map(({ id }) => id))
    for (const id of this.#windows.keys()) if (!ids.has(id)) this.#windows.delete(id)
    for (const id of this.#open.keys()) if (!ids.has(id)) this.#open.delete(id)
    this.#lookedAt = now
  }

  /** Windows of a receiver since it was first seen. */
  of(id: string): Windows {
    return this.#windows.get(id) ?? { withDemand: 0, attained: 0 }
  }

  #extend(id: string, floor: number, bits: number, now: number): void {
    const open = this.#open.get(id) ?? { begin: this.#lookedAt, bits: 0 }
    open.bits += bits
    this.#open.set(id, open)
    const seconds = (now - open.begin) / 1000
    if (seconds * 1000 < length) return
    const { withDemand, attained } = this.of(id)
    const isAttained = open.bits / seconds >= floor * attainedShare
    this.#windows.set(id, { withDemand: withDemand + 1, attained: attained + (isAttained ? 1 : 0) })
    this.#open.delete(id)
  }
}
