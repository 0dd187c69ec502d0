import { isDeepStrictEqual } from 'node:util'
import { Endpoint, Node } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import {
  formatRate,
  judgePromises,
  nodeTotals,
  type CapacityLedger,
  type PromisesVerdict,
} from '../../guarantee/index.ts'
import type { EventRecorder, Informer, ResourceStore } from '../../store/index.ts'
import { promisedTo } from './allocation.ts'
import { regarding } from './endpoint-events.ts'
import type { Clock } from './node-health.ts'

/** What the capacity of nodes is reckoned from and told to. */
export interface NodeCapacityParts {
  store: ResourceStore
  nodes: Informer<Node>
  endpoints: Informer<Endpoint>
  ledger: CapacityLedger
  recorder: EventRecorder
  clock: Clock
}

type Promises = NonNullable<NonNullable<Node['status']>['promises']>
/** What makes one verdict news after another: the state, and while promises are at risk how much there is. */
type Announced = Pick<Promises, 'state' | 'reason'> & { total: number }

/**
 * Writes what is promised on a node of what there is (`status.capacity`) and whether it can be kept (`status.promises`).
 * When a link no longer carries its promises, or does again, the node and each endpoint with a floor on it are told by
 * an event, before the status says so: a crash in between repeats the events and loses none.
 */
export class NodeCapacity {
  readonly #parts: NodeCapacityParts
  /** By node, because the informer's copy may be older than what was announced last. */
  readonly #announced = new Map<string, Announced>()

  constructor(parts: NodeCapacityParts) {
    this.#parts = parts
  }

  /** Looks at one node by its name. */
  async reconcile(name: string): Promise<ReconcileResult> {
    const { store, nodes, ledger } = this.#parts
    const node = nodes.get({ name })
    if (!node) {
      this.#announced.delete(name)
      return { done: true }
    }
    const total = nodeTotals(node)
    const promised = ledger.promisedOn(name)
    const capacity = {
      bandwidth: { promised: promised.bandwidth, total: total.bandwidth },
      interfaces: { promised: promised.interfaces, total: total.interfaces },
    }
    const verdict = judgePromises(node, promised, total)
    await this.#announce(node, verdict, total.bandwidth)
    const promises = this.#asStatus(node, verdict)
    const { bandwidth, interfaces } = node.status?.capacity ?? {}
    const isWritten = isDeepStrictEqual({ bandwidth, interfaces }, capacity)
    if (isWritten && isDeepStrictEqual(node.status?.promises, promises)) return { done: true }
    const patch = { metadata: { uid: node.metadata.uid }, status: { capacity, promises } }
    await store.patch(Node, { name }, patch, { subresource: 'status' })
    return { done: true }
  }

  #asStatus({ status }: Node, { state, reason, message }: PromisesVerdict): Promises {
    const before = status?.promises
    const since = before?.state === state ? before.since : new Date(this.#parts.clock.now()).toISOString()
    return { state, reason, message, since }
  }

  async #announce(node: Node, verdict: PromisesVerdict, total: number): Promise<void> {
    const { recorder } = this.#parts
    const before = this.#announced.get(node.metadata.name) ?? announcedBefore(node)
    const now = { state: verdict.state, reason: verdict.reason, total }
    const isNews = verdict.state ? !before.state : !isDeepStrictEqual(before, now)
    this.#announced.set(node.metadata.name, now)
    if (!isNews) return
    const kind = verdict.state
      ? ({ type: 'Normal', reason: 'PromiseKept', action: 'WatchUplink' } as const)
      : ({ type: 'Warning', reason: 'PromiseAtRisk', action: 'WatchUplink' } as const)
    recorder.record({ ...kind, regarding: regarding(Node, node), note: verdict.message })
    for (const [endpoint, floor] of this.#floorsOn(node)) {
      recorder.record({ ...kind, regarding: regarding(Endpoint, endpoint), note: noteFor(node, floor, verdict) })
    }
    await recorder.flush()
  }

  #floorsOn({ metadata: { name } }: Node): [Endpoint, number][] {
    return this.#parts.endpoints.items().flatMap((endpoint): [Endpoint, number][] => {
      const promised = promisedTo(endpoint)
      const floor = promised?.nodeName === name ? promised.amounts.bandwidth : 0
      return floor > 0 ? [[endpoint, floor]] : []
    })
  }
}

/** What an earlier control process announced, by the status that it wrote. */
function announcedBefore({ status }: Node): Announced {
  const { state = true, reason = 'AllFit' } = status?.promises ?? {}
  return { state, reason, total: status?.capacity?.bandwidth.total ?? 0 }
}

function noteFor(node: Node, floor: number, { state, reason, share }: PromisesVerdict): string {
  const { interface: device } = node.spec.uplinks.pods
  const { name } = node.metadata
  if (state)
    return `The floor of ${formatRate(floor)} is kept again on node ${name}: the uplink ${device} carries all floors.`
  const why = reason === 'UplinkDown' ? 'has no carrier' : 'is slower than the floors on it'
  return `The uplink ${device} of node ${name} ${why}: ${formatRate(Math.floor(floor * share))} of the floor of ${formatRate(floor)} are kept.`
}
