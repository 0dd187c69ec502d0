import { Network } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'
import type { ClaimBook } from '../addresses/claim-book.ts'

/** Writes how many addresses of a network there are and are used (`status.usage`); the key is the network's name. */
export async function reconcileUsage(
  key: string,
  { store, networks, book }: { store: ResourceStore; networks: Informer<Network>; book: ClaimBook },
): Promise<ReconcileResult> {
  const network = networks.get({ name: key })
  const usage = book.usage(key)
  if (!network || !usage) return { done: true }
  const written = network.status?.usage
  if (written?.total === usage.total && written.used === usage.used) return { done: true }
  const patch = { metadata: { uid: network.metadata.uid }, status: { usage } }
  await store.patch(Network, { name: key }, patch, { subresource: 'status' })
  return { done: true }
}
