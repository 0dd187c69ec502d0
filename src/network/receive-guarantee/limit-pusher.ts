import { CarbonadoError, type Logger } from '../../base/index.ts'
import type { ReceiveLimit } from '../../guarantee/index.ts'
import type { LimitUse, ReceiverAddress } from '../receive-control.ts'
import type { LimitUses, ReceiveLimits } from './limit-message.ts'

/** Milliseconds: how long a limit holds without news, and how often it is renewed. */
const limitLease = 1_000
const renewal = 250
/** A limit that changes by less than this share is left as it is until it is renewed. */
const tolerance = 0.02
/** Milliseconds until a node that could not be told is tried again. */
const retry = 200
/**
 * Milliseconds after which the next message is sent although the answer to the last has not come, and how many may be on
 * their way: answers come through the port that is congested, and what they answer has arrived long before.
 */
const overtaking = 100
const mostUnanswered = 4
/** Milliseconds between messages without limits, which keep a connection ready for the moment of pressure. */
const warming = 20_000

/** A limit with the address by which frames name the receiver. */
export type AddressedLimit = ReceiveLimit & ReceiverAddress

/** Gives limits to a sending node, this one included. Rejects when it cannot be reached. */
export type SendLimits = (node: string, limits: ReceiveLimits) => Promise<LimitUses>

/** What one sending node has been told. */
interface Told {
  wanted: AddressedLimit[]
  sent: AddressedLimit[]
  sentAt: number
  unanswered: number
  isFailing: boolean
  uses: Map<string, LimitUse>
}

/** Tells sending nodes their limits: at once when they change, and again before the lease ends. */
export class LimitPusher {
  readonly #nodeName: string
  readonly #send: SendLimits
  readonly #logger: Logger
  readonly #told = new Map<string, Told>()
  readonly #heldBack = new Set<string>()
  #sequence = Date.now() * 1000

  constructor(nodeName: string, send: SendLimits, logger: Logger) {
    this.#nodeName = nodeName
    this.#send = send
    this.#logger = logger
  }

  /** All limits as they should be now, and the nodes that send at all. `now` in milliseconds. Never waits. */
  set(now: number, limits: AddressedLimit[], senders: Iterable<string> = []): void {
    const byNode = Map.groupBy(limits, ({ node }) => node)
    for (const node of new Set([...byNode.keys(), ...senders, ...this.#told.keys()])) {
      const told = this.#told.get(node) ?? nothingTold()
      this.#told.set(node, told)
      told.wanted = byNode.get(node) ?? []
      if (isDue(told, now)) void this.#tell(node, told, now)
    }
    for (const node of this.#told.keys()) if (this.#isDone(node, now)) this.#told.delete(node)
  }

  #isDone(node: string, now: number): boolean {
    const { wanted, sent, unanswered, sentAt } = this.#told.get(node)!
    return wanted.length + sent.length + unanswered === 0 && now - sentAt > 2 * warming
  }

  /** Nodes that have limits to keep and could not be told. */
  get untold(): string[] {
    return [...this.#told].filter(([, told]) => told.isFailing && told.wanted.length > 0).map(([node]) => node)
  }

  /** Whether a node dropped frames for a receiver since this was last asked. */
  takeHeldBack(receiver: string, node: string | undefined): boolean {
    return this.#heldBack.delete(`${receiver} ${node}`)
  }

  async #tell(node: string, told: Told, now: number): Promise<void> {
    const limits = told.wanted
    const before = told.sent
    this.#sequence += 1
    const message = {
      receivingNode: this.#nodeName,
      sequence: this.#sequence,
      lease: limitLease,
      limits: limits.map(asMessage),
    }
    told.sent = limits
    told.sentAt = now
    told.unanswered += 1
    try {
      const { uses } = await this.#send(node, message)
      this.#note(node, told, limits, uses)
      told.isFailing = false
    } catch (error) {
      if (error instanceof CarbonadoError && error.code === 'Conflict') return // overtaken by a newer message
      if (told.sent === limits) told.sent = before
      if (!told.isFailing)
        this.#logger.warn({ err: error, sendingNode: node }, 'a node could not be told what it may send')
      told.isFailing = true
    } finally {
      told.unanswered -= 1
    }
  }

  #note(node: string, told: Told, limits: AddressedLimit[], uses: LimitUse[]): void {
    const before = told.uses
    told.uses = new Map(limits.map(({ receiver }, index) => [receiver, uses[index]!]))
    for (const [receiver, use] of told.uses) {
      if (use.droppedBytes > (before.get(receiver)?.droppedBytes ?? 0)) this.#heldBack.add(`${receiver} ${node}`)
    }
  }
}

function nothingTold(): Told {
  return { wanted: [], sent: [], sentAt: -Infinity, unanswered: 0, isFailing: false, uses: new Map() }
}

/** Whether a node is to be told now. */
function isDue({ wanted, sent, sentAt, unanswered, isFailing }: Told, now: number): boolean {
  const age = now - sentAt
  if (unanswered >= mostUnanswered || (unanswered > 0 && age < overtaking)) return false
  if (isFailing) return age >= retry && (wanted.length > 0 || sent.length > 0 || age >= warming)
  if (differs(sent, wanted)) return true
  return age >= (wanted.length > 0 ? renewal : warming)
}

function asMessage({ macAddress, vlan, rate }: AddressedLimit): ReceiveLimits['limits'][number] {
  return { macAddress, vlan, rate: Math.max(8000, Math.ceil(rate)) }
}

function differs(sent: AddressedLimit[], wanted: AddressedLimit[]): boolean {
  if (sent.length !== wanted.length) return true
  const rates = new Map(sent.map(({ receiver, rate }) => [receiver, rate]))
  return wanted.some(({ receiver, rate }) => {
    const before = rates.get(receiver)
    return before === undefined || Math.abs(rate - before) > before * tolerance
  })
}
