import { BudgetDivider } from './budget-divider.ts'

/** How floors of a drive are kept. Times in milliseconds, shares of the drive's calibrated IOPS unless told. */
export const keeping = {
  /** What is set aside for a volume with demand: so many times its floor ... */
  reserve: 1.1,
  /** ... and so many times while it has got less than its floor since its demand began, until that is made good. */
  catchUp: 1.4,
  /** Seconds in which what a volume is behind or ahead is forgotten: it may not want to be made good. */
  memory: 0.5,
  /** A volume with demand that gets less than this many times its floor is starving ... */
  starving: 0.99,
  /** ... and so is one that is behind by what its floor is in so many seconds. */
  behind: 0.02,
  /** Part of what is missing by which the neighbours are cut in one look. */
  cut: 0.7,
  /** What the neighbours get back in one look while no floor is missed: little by little near the floor, else faster. */
  slowGrowth: 0.004,
  growth: 0.02,
  /** Neighbours have at least this together, however much is missing: a drive may give less than it was measured to. */
  least: 0.03,
  /** For so long after the last demand limits stand, growing by `release` in each look. */
  rest: 400,
  release: 1.25,
  /** For so long a promised volume that had more than its floor has to do with it, once another one was starving. */
  hold: 3000,
} as const

/** What a drive gives. */
export interface KeptDrive {
  /** Operations per second. */
  iops: number
  /** Seconds that one operation takes when nothing else is under way. */
  latency: number
}

/** What was seen of a volume since the last look. */
export interface VolumeLook {
  id: string
  /** Operations per second; 0 is best effort. */
  floor: number
  /** Operations per second that were done; a large one counts as several. */
  delivered: number
  /** Operations under way on average. */
  inFlight: number
}

interface PromisedState {
  /** Operations that it is ahead of its floor; negative: behind. */
  credit: number
  /** Until when it has to do with its floor. */
  heldUntil: number
}

/**
 * Whether a volume asks for its floor. By Little's law operations under way are rate times duration: with fewer than what
 * the floor needs on a drive that does nothing else (twice that, to be sure), the volume itself is what is slow.
 */
export function hasDemand({ floor, inFlight }: VolumeLook, { latency }: KeptDrive): boolean {
  return floor > 0 && inFlight >= 2 * floor * latency
}

/**
 * Decides how much the volumes of a drive may do while another one asks for its floor: it sets the floor aside at once,
 * takes more from the neighbours while that does not suffice, and gives back when it does; when no promised volume asks,
 * nobody is held back. It measures nothing and tells nobody; time is passed in.
 */
export class FloorKeeper {
  drive: KeptDrive
  readonly #promised = new Map<string, PromisedState>()
  readonly #divider = new BudgetDivider()
  /** Operations per second that volumes without demand for a floor have together; undefined: as much as they like. */
  #surplus: number | undefined
  /** What the surplus was when it last sufficed. */
  #learned = Infinity
  #demandAt = -Infinity
  #lookedAt = -Infinity

  constructor(drive: KeptDrive) {
    this.drive = drive
  }

  /** Limits by volume, in operations per second; who has none is not held back. `now` in milliseconds. */
  look(now: number, looks: VolumeLook[]): Map<string, number> {
    const seconds = Math.min(1, Math.max(0, (now - this.#lookedAt) / 1000))
    this.#lookedAt = now
    const asking = looks.filter((look) => hasDemand(look, this.drive))
    this.#judge(looks, asking, seconds)
    if (asking.length > 0) this.#demandAt = now
    const others = looks.filter(({ floor }) => floor === 0)
    const used = others.reduce((sum, { delivered }) => sum + delivered, 0)
    this.#surplus = this.#nextSurplus(now, asking, used)
    if (this.#surplus === undefined) return new Map()
    const members = others.map(({ id, delivered }) => ({ id, use: delivered }))
    const least = (this.drive.iops * keeping.least) / Math.max(1, 4 * members.length)
    const limits = this.#divider.divide(now, this.#surplus, members, least)
    for (const [id, limit] of this.#limitsOfPromised(now, looks, asking)) limits.set(id, limit)
    return limits
  }

  #judge(looks: VolumeLook[], asking: VolumeLook[], seconds: number): void {
    const ids = new Set(looks.filter(({ floor }) => floor > 0).map(({ id }) => id))
    for (const id of this.#promised.keys()) if (!ids.has(id)) this.#promised.delete(id)
    for (const id of ids) if (!this.#promised.has(id)) this.#promised.set(id, { credit: 0, heldUntil: -Infinity })
    for (const look of looks) {
      const state = this.#promised.get(look.id)
      if (!state) continue
      const bound = look.floor * keeping.memory
      const credit = state.credit * Math.exp(-seconds / keeping.memory) + (look.delivered - look.floor) * seconds
      state.credit = asking.includes(look) ? Math.min(bound / 4, Math.max(-bound, credit)) : 0
    }
  }

  /** What is set aside for a volume that asks. */
  #reserveOf({ id, floor }: VolumeLook): number {
    return floor * (this.#isBehind(id, floor) ? keeping.catchUp : keeping.reserve)
  }

  #isBehind(id: string, floor: number): boolean {
    return this.#promised.get(id)!.credit < -floor * keeping.behind
  }

  #nextSurplus(now: number, asking: VolumeLook[], used: number): number | undefined {
    const { iops } = this.drive
    if (asking.length === 0) return this.#released(now)
    const reserved = asking.reduce((sum, look) => sum + this.#reserveOf(look), 0)
    const least = iops * keeping.least
    if (this.#surplus === undefined) return Math.max(least, Math.min(this.#learned, iops - reserved))
    const missing = asking.reduce((sum, look) => sum + this.#missingOf(look), 0)
    if (missing > 0) return Math.max(least, Math.min(this.#surplus, Math.max(used, least)) - missing * keeping.cut)
    this.#learned = this.#surplus
    const isRich = asking.every(({ floor, delivered }) => delivered >= floor * keeping.reserve)
    const isUsed = used >= this.#surplus * 0.8
    const growth = iops * (isRich ? keeping.growth : keeping.slowGrowth)
    return isUsed ? Math.min(2 * iops, this.#surplus + growth) : this.#surplus
  }

  #missingOf(look: VolumeLook): number {
    const { id, delivered, floor } = look
    if (delivered >= floor * keeping.starving && !this.#isBehind(id, floor)) return 0
    return Math.max(0, this.#reserveOf(look) - delivered)
  }

  #released(now: number): number | undefined {
    if (this.#surplus === undefined || now - this.#demandAt >= keeping.rest) return undefined
    return this.#surplus * keeping.release
  }

  /** Of several promised volumes those that have more than their floor give it up when another one is starving. */
  #limitsOfPromised(now: number, looks: VolumeLook[], asking: VolumeLook[]): [string, number][] {
    const starving = asking.filter((look) => this.#missingOf(look) > 0)
    return looks.flatMap((look): [string, number][] => {
      const { id, floor, delivered } = look
      const state = this.#promised.get(id)
      if (!state || starving.includes(look)) return []
      if (starving.length > 0 && delivered > floor * keeping.reserve) state.heldUntil = now + keeping.hold
      return now < state.heldUntil ? [[id, floor * keeping.reserve]] : []
    })
  }
}
