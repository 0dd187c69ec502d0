import type { VolumeLook } from './floor-keeper.ts'

/** Somebody who uses a volume of the model. */
export interface ModelUser {
  id: string
  floor: number
  /** Operations that it keeps under way. */
  depth: number
  /** Operations per second that it does at most by itself; absent: as many as it gets. */
  rate?: number
}

/**
 * A drive that gives so many operations per second, first come first served, to users that keep a fixed number under way:
 * each gets the share of the drive that it has of the queue. For tests of the law that keeps floors.
 */
export class DriveModel {
  readonly iops: number
  users: ModelUser[]
  #queues = new Map<string, number>()
  #credits = new Map<string, number>()

  constructor(iops: number, users: ModelUser[]) {
    this.iops = iops
    this.users = users
  }

  /** Goes on for so many seconds under these limits; what was seen of each user. */
  run(seconds: number, limits: ReadonlyMap<string, number>): VolumeLook[] {
    const step = 0.001
    const done = new Map<string, number>()
    const waited = new Map<string, number>()
    const steps = Math.max(1, Math.round(seconds / step))
    for (let at = 0; at < steps; at++) this.#step(step, limits, done, waited)
    return this.users.map(({ id, floor }) => ({
      id,
      floor,
      delivered: (done.get(id) ?? 0) / (steps * step),
      inFlight: (waited.get(id) ?? 0) / steps,
    }))
  }

  #step(
    step: number,
    limits: ReadonlyMap<string, number>,
    done: Map<string, number>,
    waited: Map<string, number>,
  ): void {
    for (const { id, depth, rate = Infinity } of this.users) {
      const queued = this.#queues.get(id) ?? 0
      const most = Math.min(limits.get(id) ?? Infinity, rate)
      const credit = Math.min((this.#credits.get(id) ?? 0) + most * step, depth + most * step)
      const added = Math.min(Math.max(0, depth - queued), credit)
      this.#credits.set(id, credit === Infinity ? 0 : credit - added)
      this.#queues.set(id, queued + added)
      waited.set(id, (waited.get(id) ?? 0) + queued + added)
    }
    const total = [...this.#queues.values()].reduce((sum, queued) => sum + queued, 0)
    const served = Math.min(1, (this.iops * step) / Math.max(total, 1e-9))
    for (const [id, queued] of this.#queues) {
      done.set(id, (done.get(id) ?? 0) + queued * served)
      this.#queues.set(id, queued * (1 - served))
    }
  }
}
