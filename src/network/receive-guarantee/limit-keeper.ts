import { Conflict, regularly, type Logger, type Regular } from '../../base/index.ts'
import type { ReceiveControl, ReceiverAddress } from '../receive-control.ts'
import type { LimitUses, ReceiveLimits } from './limit-message.ts'

/** What one receiving node has asked for. */
interface Asked {
  sequence: number
  /** Milliseconds of the clock that was passed in; afterwards nothing of it holds. */
  until: number
  receivers: Map<string, ReceiveLimits['limits'][number]>
}

/** A receiver that endpoints of this node may send only so much to; `rate` in bits per second. */
export interface HeldReceiver extends ReceiverAddress {
  receivingNode: string
  rate: number
}

/** Keeps the limits that receiving nodes have asked of this one, itself included. The kernel ends them; this tidies up. */
export class LimitKeeper {
  readonly #control: ReceiveControl
  readonly #logger: Logger
  readonly #now: () => number
  readonly #asked = new Map<string, Asked>()
  #sweep: Regular | undefined

  /** `now`: milliseconds of a clock that never jumps. */
  constructor(control: ReceiveControl, logger: Logger, now: () => number = () => performance.now()) {
    this.#control = control
    this.#logger = logger
    this.#now = now
  }

  /** Limits that an earlier agent kept go on in the kernel until their lease ends. */
  start(): void {
    const tell = (err: unknown): void => this.#logger.error({ err }, 'limits that have ended could not be removed')
    this.tidy().catch(tell)
    this.#sweep = regularly(() => this.tidy(), 5_000, tell)
  }

  stop(): void {
    void this.#sweep?.stop()
  }

  /** Receivers that endpoints of this node are limited to now. */
  get count(): number {
    return new Set([...this.#asked.values()].flatMap(({ receivers }) => [...receivers.keys()])).size
  }

  /** The limits in force, by whom they were asked for. */
  get inForce(): HeldReceiver[] {
    const now = this.#now()
    return [...this.#asked].flatMap(([receivingNode, { until, receivers }]) =>
      now < until ? [...receivers.values()].map((limit) => ({ receivingNode, ...limit })) : [],
    )
  }

  /**
   * Sets all limits of a receiving node; those it had before and does not name any more end. Throws Conflict for a
   * message that is older than one that still holds.
   */
  async apply({ receivingNode, sequence, lease, limits }: ReceiveLimits): Promise<LimitUses> {
    const now = this.#now()
    const before = this.#asked.get(receivingNode)
    if (before && now < before.until && sequence <= before.sequence) {
      throw new Conflict(`message ${sequence} of node ${receivingNode} is not newer than ${before.sequence}`, {
        remedy: `Send a greater sequence, or wait until the lease of the earlier one ends.`,
      })
    }
    const receivers = new Map(limits.map((limit) => [keyOf(limit), limit]))
    this.#asked.set(receivingNode, { sequence, until: now + lease, receivers })
    await Promise.all([
      ...limits.map((limit) => this.#control.limit(limit, limit.rate, lease)),
      ...(before ? this.#lift(before) : []),
    ])
    if (limits.length === 0) await this.tidy()
    return { uses: limits.map((limit) => this.#control.use(limit) ?? { passedBytes: 0, droppedBytes: 0 }) }
  }

  /** Forgets what has ended, here and in the kernel. */
  async tidy(): Promise<void> {
    const now = this.#now()
    for (const [node, { until, receivers }] of this.#asked) {
      if (now >= until || receivers.size === 0) this.#asked.delete(node)
    }
    await this.#control.sweep()
  }

  /** Ends what nobody asks for any more: a receiver that has moved may be another node's by now. */
  #lift(before: Asked): Promise<void>[] {
    const isAsked = (key: string): boolean => this.#asked.values().some(({ receivers }) => receivers.has(key))
    return [...before.receivers].flatMap(([key, receiver]) => (isAsked(key) ? [] : [this.#control.lift(receiver)]))
  }
}

function keyOf({ macAddress, vlan }: ReceiverAddress): string {
  return `${macAddress}/${vlan}`
}
