import { Forbidden, Unavailable, type Logger } from '../../base/index.ts'
import type { PlaneReserve, Windows } from '../../guarantee/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import type { ReceiveControl } from '../receive-control.ts'
import { LimitKeeper, type HeldReceiver } from './limit-keeper.ts'
import { parseLimitUses, parseReceiveLimits, type LimitUses, type ReceiveLimits } from './limit-message.ts'
import { LimitPusher } from './limit-pusher.ts'
import type { ReceiveProblem } from './receive-problems.ts'
import { Receiver, type ReceivingEndpoint } from './receiver.ts'
import { SenderDirectory } from './sender-directory.ts'
import { SenderMemory } from './sender-memory.ts'

/** Sends a message to the agent at host:port; resolves with its answer. Rejects when that is not a success. */
export type PutToPeer = (address: string, message: ReceiveLimits) => Promise<unknown>

/** What the receive guarantee works with. */
export interface ReceiveGuaranteeOptions {
  nodeName: string
  /** Bits per second of the node's link now; 0 when nobody knows: then nothing is done. */
  linkRate: () => number
  /** What is kept of the link for other planes of the node. */
  reserves: () => PlaneReserve[]
  control: ReceiveControl
  endpoints: () => ReceivingEndpoint[]
  store: Pick<ResourceStore, 'get'>
  /** Keeps where senders are, for the next agent. */
  sendersFile: string
  /** Absent: other nodes cannot be told, only what stays on this one is kept in order. */
  putToPeer: PutToPeer | undefined
  /** Is told problems that are new. */
  onProblem?: (problem: ReceiveProblem) => void
  logger: Logger
}

/** Both sides of the receive guarantee on one node: it tells others what they may send, and keeps to what it is told. */
export class ReceiveGuarantee {
  readonly #keeper: LimitKeeper
  readonly #receiver: Receiver
  readonly #memory: SenderMemory

  constructor(options: ReceiveGuaranteeOptions) {
    const { nodeName, control, store, sendersFile, putToPeer, logger } = options
    const memory = (this.#memory = new SenderMemory(sendersFile, logger))
    const directory = new SenderDirectory(store, undefined, memory)
    const keeper = (this.#keeper = new LimitKeeper(control, logger))
    const send = async (node: string, message: ReceiveLimits): Promise<LimitUses> => {
      if (node === nodeName) return keeper.apply(message)
      const address = await directory.addressOf(node)
      if (!putToPeer) throw new Unavailable('the configuration of this agent has no "peers"')
      if (!address) throw new Unavailable(`the agent of node ${node} has not told where it is`)
      try {
        return parseLimitUses(await putToPeer(address, message), message.limits.length)
      } catch (error) {
        directory.doubtAddress(node)
        throw error
      }
    }
    this.#receiver = new Receiver({ ...options, directory, pusher: new LimitPusher(nodeName, send, logger) })
  }

  start(): void {
    this.#keeper.start()
    this.#receiver.start()
  }

  async stop(): Promise<void> {
    this.#receiver.stop()
    this.#keeper.stop()
    await this.#memory.stop()
  }

  /** What this node may send to receivers that are held to a limit now. */
  get held(): HeldReceiver[] {
    return this.#keeper.inForce
  }

  /** What keeps this node from keeping its floors for receiving. */
  get problems(): ReceiveProblem[] {
    return this.#receiver.problems
  }

  /** Windows of receiving of an endpoint with a floor, since this agent started. */
  windowsOf(endpointId: string): Windows {
    return this.#receiver.windowsOf(endpointId)
  }

  /** Takes limits from another node's agent, `speaker` where it is known to be one. Throws InvalidInput, Forbidden, Conflict. */
  accept(message: unknown, speaker?: string): Promise<LimitUses> {
    return this.#keeper.apply(spokenBy(parseReceiveLimits(message), speaker))
  }
}

/** A message, if whoever sent it may speak for the node that it names. Throws Forbidden. */
export function spokenBy(message: ReceiveLimits, speaker: string | undefined): ReceiveLimits {
  if (speaker === undefined || speaker === message.receivingNode) return message
  throw new Forbidden(`the agent of node ${speaker} may not set limits for node ${message.receivingNode}`, {
    remedy: 'Give each agent the token of its own node as peers.tokenFile.',
  })
}
