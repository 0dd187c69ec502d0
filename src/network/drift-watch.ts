import { setTimeout as delay } from 'node:timers/promises'
import { apiVersionOf, Endpoint, Node } from '../api/index.ts'
import { asCarbonadoError, regularly, type Logger, type Regular } from '../base/index.ts'
import type { EventRecorder } from '../store/index.ts'
import type { AttachRequest, Drift, NetworkEngine } from './engine.ts'

/** Milliseconds between looks, and until a second look says whether the first saw something half done. */
const times = { tick: 2_000, secondLook: 200, lastingLook: 5_000, betweenEvents: 60_000, giveUp: 600_000 } as const
/** What a container undoes so often within `giveUp` is left to it. */
const repairsInside = 5

/** An endpoint of the node as the watch needs it. */
export interface WatchedRequest {
  endpointId: string
  namespace: string
  name: string
  request: AttachRequest
}

/** What the watch works with. */
export interface DriftWatchOptions {
  nodeName: string
  engine: Pick<NetworkEngine, 'findDrift'>
  attached: () => WatchedRequest[]
  /** Attaches anew what the engine has let go of. */
  attachAgain: (endpointId: string) => void
  events: Pick<EventRecorder, 'record'>
  logger: Logger
  /** Milliseconds of a clock that never jumps. */
  now?: () => number
  secondLook?: number
}

/** A drift that is still there. */
interface Lasting {
  drift: Drift
  title: string
  why: string
  told: number
}

/**
 * Keeps the datapath as it was made: what somebody has removed or changed by hand is repaired within seconds, without
 * touching traffic, and told; what cannot be repaired is told until it is gone. Level-triggered: it compares what is with
 * what should be; the kernel's announcements only say where to look first.
 */
export class DriftWatch {
  readonly #options: Required<DriftWatchOptions>
  readonly #lasting = new Map<string, Lasting>()
  readonly #repairedAt = new Map<string, number[]>()
  readonly #repaired = new Map<string, number>()
  #lookedAtLasting = 0
  #looking: Regular | undefined

  constructor(options: DriftWatchOptions) {
    this.#options = { now: () => performance.now(), secondLook: times.secondLook, ...options }
  }

  start(): void {
    const tell = (err: unknown): void => this.#options.logger.error({ err }, 'looking for drift failed')
    this.#looking = regularly(() => this.tick(), times.tick, tell)
  }

  async stop(): Promise<void> {
    await this.#looking?.stop()
  }

  /** How often something was repaired, by reason. */
  repaired(): ReadonlyMap<string, number> {
    return this.#repaired
  }

  /** What is there now and was not repaired, for `dctl node check`. */
  problems(): { reason: string; message: string; remedy: string }[] {
    return [...this.#lasting.values()].map(({ drift, title, why }) => ({
      reason: drift.reason,
      message: `${title}: ${drift.message}${why}`,
      remedy: remedyOf(drift),
    }))
  }

  /** Looks once, and repairs what a second look confirms. */
  async tick(): Promise<void> {
    const { engine, now } = this.#options
    const isDue = this.#lasting.size > 0 && now() - this.#lookedAtLasting >= times.lastingLook
    const suspects = new Set(isDue ? [...this.#lasting.values()].map(({ drift }) => drift.endpointId ?? '') : [])
    const first = engine.findDrift(this.#requests(), suspects)
    if (isDue) this.#dropGone(first)
    if (first.length === 0) return
    await delay(this.#options.secondLook)
    const seen = new Set(first.map(keyOf))
    const again = engine.findDrift(this.#requests(), new Set(first.map(({ endpointId }) => endpointId ?? '')))
    for (const drift of again) if (seen.has(keyOf(drift))) await this.#handle(drift)
  }

  #requests(): AttachRequest[] {
    return this.#options.attached().map(({ request }) => request)
  }

  /** Of what lasts, forgets what a look at all of it did not find. */
  #dropGone(found: Drift[]): void {
    this.#lookedAtLasting = this.#options.now()
    const keys = new Set(found.map(keyOf))
    for (const key of this.#lasting.keys()) if (!keys.has(key)) this.#lasting.delete(key)
  }

  async #handle(drift: Drift): Promise<void> {
    if (!drift.repair || this.#isGivenUp(drift)) {
      const why = drift.repair ? '; it was repaired several times and changed again' : ''
      return this.#keep(drift, why)
    }
    try {
      await drift.repair()
    } catch (error) {
      return this.#keep(drift, `; repairing it failed: ${asCarbonadoError(error).message}`)
    }
    this.#lasting.delete(keyOf(drift))
    if (drift.isGone) this.#options.attachAgain(drift.endpointId!)
    if (!drift.isExpected) this.#noteRepaired(drift)
  }

  #isGivenUp(drift: Drift): boolean {
    const since = this.#options.now() - times.giveUp
    // of all: what a container changes may never be the same again
    for (const [key, repairs] of this.#repairedAt) {
      const recent = repairs.filter((at) => at > since)
      if (recent.length === 0) this.#repairedAt.delete(key)
      else this.#repairedAt.set(key, recent)
    }
    return drift.isInside && (this.#repairedAt.get(keyOf(drift)) ?? []).length >= repairsInside
  }

  #noteRepaired(drift: Drift): void {
    this.#repairedAt.set(keyOf(drift), [...(this.#repairedAt.get(keyOf(drift)) ?? []), this.#options.now()])
    this.#repaired.set(drift.reason, (this.#repaired.get(drift.reason) ?? 0) + 1)
    this.#options.logger.warn({ reason: drift.reason, endpointId: drift.endpointId }, `repaired: ${drift.message}`)
    this.#tell(drift, `Repaired: ${drift.message}`)
  }

  #keep(drift: Drift, why: string): void {
    const known = this.#lasting.get(keyOf(drift))
    const { now } = this.#options
    const isDue = !known || now() - known.told >= times.betweenEvents
    this.#lasting.set(keyOf(drift), { drift, why, title: this.#titleOf(drift), told: isDue ? now() : known.told })
    if (isDue) this.#tell(drift, `${drift.message}${why}. ${remedyOf(drift)}`)
  }

  #titleOf({ endpointId }: Drift): string {
    const endpoint = this.#options.attached().find((each) => each.endpointId === endpointId)
    return endpoint ? `endpoint ${endpoint.namespace}/${endpoint.name}` : `node ${this.#options.nodeName}`
  }

  #tell(drift: Drift, note: string): void {
    const endpoint = this.#options.attached().find((each) => each.endpointId === drift.endpointId)
    const { nodeName, events } = this.#options
    const regarding = endpoint
      ? { apiVersion: apiVersionOf(Endpoint), kind: Endpoint.kind, namespace: endpoint.namespace, name: endpoint.name, uid: endpoint.endpointId } // prettier-ignore
      : { apiVersion: apiVersionOf(Node), kind: Node.kind, name: nodeName }
    events.record({ regarding, type: 'Warning', reason: drift.reason, action: 'RepairDrift', note })
  }
}

function keyOf({ endpointId, reason, message }: Drift): string {
  return `${endpointId ?? ''} ${reason} ${message}`
}

function remedyOf(drift: Drift): string {
  if (!drift.repair && drift.endpointId !== undefined) return 'Delete the container and start it again.'
  return drift.isInside
    ? 'Find out what in the container changes it, or start the container again.'
    : 'Look at the log of the agent on this node; restart the agent if it stays so.'
}
