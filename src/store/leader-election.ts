import { setTimeout as delay } from 'node:timers/promises'
import { Lease } from '../api/index.ts'
import { CarbonadoError, Unavailable, type Logger } from '../base/index.ts'
import type { ResourceStore } from './resource-store.ts'

/** Milliseconds. A holder stops at `renewDeadline`, well before others may take over at `leaseDuration`. */
export interface LeaseTiming {
  leaseDuration: number
  /** Since the start of the last renewal that succeeded; later than this the holder writes nothing more. */
  renewDeadline: number
  retryPeriod: number
}

/** As Kubernetes' own components have it (client-go, leaderelection), with more room for a request under way. */
const defaultLeaseTiming: LeaseTiming = { leaseDuration: 15_000, renewDeadline: 8_000, retryPeriod: 2_000 }

/** What an election is about. */
export interface LeaderElectionOptions {
  /** Requests through it must end within `leaseDuration - renewDeadline`. */
  store: ResourceStore
  lease: { namespace: string; name: string }
  /** Who stands for election; unique among all that do. */
  identity: string
  logger: Logger
  timing?: LeaseTiming
}

/** Leadership while it lasts. */
export interface Leadership {
  /** Whether others still cannot have taken over; by the monotonic clock, so that set clocks change nothing. */
  isHeld(): boolean
  /** Aborted as soon as it is lost. */
  lost: AbortSignal
  /** Lets go, so that another need not wait. */
  release(): Promise<void>
}

/**
 * Waits until this process leads. Two never lead at once as long as clocks run at the same speed: whoever takes over has
 * watched the lease unchanged for its whole duration, and the holder has given up before.
 * Rejects with the reason of `signal`, or when the store refuses for good (no right to the lease).
 */
export async function acquireLeadership(options: LeaderElectionOptions, signal?: AbortSignal): Promise<Leadership> {
  const candidate = new Candidate(options)
  for (;;) {
    signal?.throwIfAborted()
    const began = performance.now()
    if (await candidate.tryToTake()) return candidate.lead(began)
    await delay(candidate.timing.retryPeriod * (0.8 + Math.random() * 0.4), undefined, { signal })
  }
}

class Candidate {
  readonly timing: LeaseTiming
  readonly #options: LeaderElectionOptions
  /** The version of another's lease, and since when it has been seen unchanged. */
  #seen: { version: string; at: number } | undefined
  #lease: Lease | undefined
  #heldUntil = 0

  constructor(options: LeaderElectionOptions) {
    this.#options = options
    this.timing = options.timing ?? defaultLeaseTiming
  }

  async tryToTake(): Promise<boolean> {
    const { store, lease, logger } = this.#options
    try {
      const present = await store.get(Lease, lease).catch(ignoring('NotFound'))
      if (present && !this.#isFree(present)) return false
      this.#lease = present
        ? await store.update(Lease, { ...present, spec: this.#spec(present) })
        : await store.create(Lease, { metadata: lease, spec: this.#spec() })
      return true
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code === 'Forbidden') throw error
      if (error.code !== 'Conflict')
        logger.warn({ err: error }, 'the election could not be held; it will be tried again')
      return false
    }
  }

  #isFree(lease: Lease): boolean {
    const { holderIdentity } = lease.spec
    if (!holderIdentity || holderIdentity === this.#options.identity) return true
    const version = lease.metadata.resourceVersion!
    if (this.#seen?.version !== version) this.#seen = { version, at: performance.now() }
    return performance.now() - this.#seen.at > this.timing.leaseDuration
  }

  /** `began`: when the request that made this process the holder was sent. */
  lead(began: number): Leadership {
    const lost = new AbortController()
    const ended = new AbortController()
    this.#heldUntil = began + this.timing.renewDeadline
    const isHeld = (): boolean => !ended.signal.aborted && performance.now() < this.#heldUntil
    const renewing = this.#keep(ended.signal).then(() => lost.abort())
    const release = async (): Promise<void> => {
      const wasHeld = isHeld()
      ended.abort()
      await renewing
      if (wasHeld) await this.#letGo()
    }
    return { isHeld, lost: lost.signal, release }
  }

  /** Renews until it is lost or `ended`. */
  async #keep(ended: AbortSignal): Promise<void> {
    while (!ended.aborted && performance.now() < this.#heldUntil) {
      await delay(this.timing.retryPeriod, undefined, { signal: ended }).catch(() => {})
      if (ended.aborted) return
      const began = performance.now()
      const outcome = await this.#renew()
      if (outcome === 'renewed') this.#heldUntil = began + this.timing.renewDeadline
      if (outcome === 'taken') return
    }
    if (!ended.aborted) this.#options.logger.error('the lease could not be renewed in time; another may lead now')
  }

  async #renew(): Promise<'renewed' | 'failed' | 'taken'> {
    const { store, lease, identity, logger } = this.#options
    try {
      this.#lease = await store.update(Lease, { ...this.#lease!, spec: this.#spec(this.#lease) })
      return 'renewed'
    } catch (error) {
      logger.warn({ err: error }, 'the lease was not renewed')
      const present = await store.get(Lease, lease).catch(() => undefined)
      if (present && present.spec.holderIdentity !== identity) return 'taken'
      this.#lease = present ?? this.#lease // an answer was lost: go on from what is there
      return 'failed'
    }
  }

  async #letGo(): Promise<void> {
    const { store } = this.#options
    const spec = { ...this.#lease!.spec, holderIdentity: null }
    await store.update(Lease, { ...this.#lease!, spec }).catch(() => {}) // it runs out by itself
  }

  #spec(before?: Lease): Lease['spec'] {
    const { identity } = this.#options
    const now = new Date().toISOString().replace('Z', '000Z')
    const isOurs = before?.spec.holderIdentity === identity
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(this.timing.leaseDuration / 1000),
      acquireTime: isOurs ? before.spec.acquireTime : now,
      renewTime: now,
      leaseTransitions: (before?.spec.leaseTransitions ?? -1) + (isOurs ? 0 : 1),
    }
  }
}

/** A store whose writes are refused once the leadership is lost, so that a leader of yesterday changes nothing. */
export function fencedStore(store: ResourceStore, leadership: Pick<Leadership, 'isHeld'>): ResourceStore {
  const fenced = <A extends unknown[], R>(write: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      if (leadership.isHeld()) return write(...args)
      throw new Unavailable('this control no longer leads, so it writes nothing', { remedy: 'Ask the one that leads.' })
    }
  }
  return {
    get: store.get.bind(store),
    list: store.list.bind(store),
    watch: store.watch.bind(store),
    close: store.close.bind(store),
    create: fenced(store.create.bind(store)) as ResourceStore['create'],
    update: fenced(store.update.bind(store)) as ResourceStore['update'],
    updateStatus: fenced(store.updateStatus.bind(store)) as ResourceStore['updateStatus'],
    patch: fenced(store.patch.bind(store)) as ResourceStore['patch'],
    delete: fenced(store.delete.bind(store)) as ResourceStore['delete'],
  }
}

function ignoring(code: string): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof CarbonadoError && error.code === code) return undefined
    throw error
  }
}
