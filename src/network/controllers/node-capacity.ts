import { isDeepStrictEqual } from 'node:util'
import { Node } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import { nodeTotals, type CapacityLedger } from '../../guarantee/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'

/** Writes what is promised on a node of what there is (`status.capacity`); the key is the node's name. */
export async function reconcileCapacity(
  key: string,
  { store, nodes, ledger }: { store: ResourceStore; nodes: Informer<Node>; ledger: CapacityLedger },
): Promise<ReconcileResult> {
  const node = nodes.get({ name: key })
  if (!node) return { done: true }
  const total = nodeTotals(node)
  const promised = ledger.promisedOn(key)
  const capacity = {
    bandwidth: { promised: promised.bandwidth, total: total.bandwidth },
    interfaces: { promised: promised.interfaces, total: total.interfaces },
  }
  const written = node.status?.capacity
  if (written && isDeepStrictEqual({ ...written, ...capacity }, written)) return { done: true }
  const patch = { metadata: { uid: node.metadata.uid }, status: { capacity } }
  await store.patch(Node, { name: key }, patch, { subresource: 'status' })
  return { done: true }
}
