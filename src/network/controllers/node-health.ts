import { Node } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import type { EventRecorder, Informer, ResourceStore } from '../../store/index.ts'
import { regarding } from './endpoint-events.ts'

/** Tells the time. */
export interface Clock {
  /** Milliseconds since 1970; jumps when somebody sets the clock. */
  now(): number
  /** Milliseconds since some moment; never jumps. */
  elapsed(): number
}

/** The clocks of this machine. */
export const machineClock: Clock = { now: () => Date.now(), elapsed: () => performance.now() }

/** Agents beat every 10 s; a node is not ready when three in a row were missed. */
export const heartbeatInterval = 10_000
const heartbeatsMissed = 3
const patience = heartbeatInterval * heartbeatsMissed

type Ready = NonNullable<NonNullable<Node['status']>['ready']>
type Verdict = Pick<Ready, 'state' | 'reason' | 'message'>

/**
 * Says whether a node is ready. `silence`: milliseconds since its heartbeat changed, as control saw it, so that a
 * node's clock does not matter; undefined when its agent has never reported. `uplinkDown`: the uplink of pods when its
 * agent says that it has no carrier.
 */
export function readiness(silence: number | undefined, uplinkDown?: string): Verdict {
  if (silence === undefined) {
    return { state: false, reason: 'AgentNeverSeen', message: 'The agent has not reported yet.' }
  }
  if (silence < patience && uplinkDown !== undefined) {
    const message = `The uplink ${uplinkDown} has no carrier: containers on the node reach nobody outside it.`
    return { state: false, reason: 'UplinkDown', message }
  }
  if (silence < patience) return { state: true, reason: 'AgentAlive', message: 'The agent reports regularly.' }
  const message = `The agent has not reported for more than ${patience / 1000} seconds.`
  return { state: false, reason: 'HeartbeatsMissed', message }
}

/** Writes `status.ready` of nodes from their heartbeats and records an event when it changes. */
export class NodeHealth {
  readonly #parts: { store: ResourceStore; nodes: Informer<Node>; recorder: EventRecorder; clock: Clock }
  readonly #heard = new Map<string, { heartbeat: string; at: number }>()

  constructor(parts: { store: ResourceStore; nodes: Informer<Node>; recorder: EventRecorder; clock: Clock }) {
    this.#parts = parts
  }

  /** Looks at one node; asks to be called again when its patience would end. */
  async reconcile(name: string): Promise<ReconcileResult> {
    const node = this.#parts.nodes.get({ name })
    if (!node) {
      this.#heard.delete(name)
      return { done: true }
    }
    const silence = this.#silenceOf(node)
    const isDown = node.status?.agent?.carrier === false
    await this.#write(node, readiness(silence, isDown ? node.spec.uplinks.pods.interface : undefined))
    return silence !== undefined && silence < patience ? { requeueAfter: patience - silence } : { done: true }
  }

  #silenceOf(node: Node): number | undefined {
    const heartbeat = node.status?.agent?.heartbeat
    if (heartbeat === undefined) return undefined
    const now = this.#parts.clock.elapsed()
    const heard = this.#heard.get(node.metadata.name)
    if (heard?.heartbeat === heartbeat) return now - heard.at
    const at = heard ? now : this.#firstHeard(node, heartbeat, now)
    this.#heard.set(node.metadata.name, { heartbeat, at })
    return now - at
  }

  /** After a start of control: a node that was ready gets its patience anew, any other must have beaten of late. */
  #firstHeard(node: Node, heartbeat: string, now: number): number {
    if (node.status?.ready?.state) return now
    const age = this.#parts.clock.now() - Date.parse(heartbeat)
    return Number.isNaN(age) ? -Infinity : Math.min(now - age, now)
  }

  async #write(node: Node, verdict: Verdict): Promise<void> {
    const before = node.status?.ready
    if (before?.state === verdict.state && before.reason === verdict.reason) return
    const { store, recorder, clock } = this.#parts
    const since = before?.state === verdict.state ? before.since : new Date(clock.now()).toISOString()
    const patch = { metadata: { uid: node.metadata.uid }, status: { ready: { ...verdict, since } } }
    await store.patch(Node, { name: node.metadata.name }, patch, { subresource: 'status' })
    if (before === undefined && !verdict.state) return
    recorder.record({
      regarding: regarding(Node, node),
      type: verdict.state ? 'Normal' : 'Warning',
      reason: verdict.state ? 'NodeReady' : 'NodeNotReady',
      action: 'WatchNode',
      note: verdict.message,
    })
  }
}
