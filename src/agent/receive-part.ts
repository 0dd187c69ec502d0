import { join } from 'node:path'
import { apiVersionOf, Node } from '../api/index.ts'
import { Unavailable, type Logger } from '../base/index.ts'
import type { PlaneReserve, Windows } from '../guarantee/index.ts'
import type { Attachments } from '../network/attachments/index.ts'
import type { NetworkEngine } from '../network/engine.ts'
import { ReceiveGuarantee, type HeldReceiver, type ReceiveProblem } from '../network/receive-guarantee/index.ts'
import { EventRecorder, type ResourceStore } from '../store/index.ts'
import type { AgentConfig } from './config.ts'
import type { Part } from './parts.ts'
import { createPeerClient } from './peer-client.ts'

/** What the part is made of. */
export interface ReceivePartOptions {
  config: Readonly<AgentConfig>
  /** Bits per second of the node's link now; 0 when nobody knows. */
  linkRate: () => number
  /** What is kept of the link for other planes of the node. */
  reserves: () => PlaneReserve[]
  store: ResourceStore
  engine: NetworkEngine
  attachments: Attachments
  logger: Logger
}

/** The receive guarantee as a part of the agent. */
export interface ReceivePart extends Part {
  /**
   * Takes limits from another node's agent, `speaker` where its token says so. Throws InvalidInput, Forbidden, Conflict, and
   * Unavailable where the engine has none.
   */
  accept(message: unknown, speaker: string | undefined): Promise<object>
  /** What this node may send to receivers that are held to a limit now. */
  held(): HeldReceiver[]
  /** What keeps this node from keeping its floors for receiving. */
  problems(): ReceiveProblem[]
  /** Windows of receiving of an endpoint, since this agent started. */
  windowsOf(endpointId: string): Windows
}

/** Makes the part; it does nothing on an engine that cannot tell who sends. */
export function createReceivePart(options: ReceivePartOptions): ReceivePart {
  const { config, linkRate, reserves, store, engine, attachments, logger } = options
  const peers = createPeerClient(config)
  const control = engine.receiving
  const events = new EventRecorder(store, { controller: 'carbonado.io/agent', instance: config.nodeName }, logger)
  const guarantee = control
    ? new ReceiveGuarantee({
        nodeName: config.nodeName,
        linkRate,
        reserves,
        control,
        endpoints: () => attachments.attached().map(({ request }) => request),
        store,
        sendersFile: join(config.stateDirectory, 'senders.json'),
        putToPeer: peers && ((address, message) => peers.put(address, '/v1/receive-limits', message)),
        onProblem: (problem) => record(events, config.nodeName, problem),
        logger,
      })
    : undefined
  return {
    name: 'receive guarantee',
    held: () => guarantee?.held ?? [],
    problems: () => guarantee?.problems ?? [],
    windowsOf: (endpointId) => guarantee?.windowsOf(endpointId) ?? { withDemand: 0, attained: 0 },
    start: () => guarantee?.start(),
    async stop() {
      await guarantee?.stop()
      peers?.close()
    },
    async accept(message, speaker) {
      if (guarantee) return guarantee.accept(message, speaker)
      throw new Unavailable('this node cannot limit what it sends to a receiver')
    },
  }
}

function record(events: EventRecorder, nodeName: string, { reason, message, remedy }: ReceiveProblem): void {
  const regarding = { apiVersion: apiVersionOf(Node), kind: Node.kind, name: nodeName }
  events.record({ regarding, type: 'Warning', reason, action: 'KeepReceiveFloors', note: `${message}. ${remedy}` })
}
