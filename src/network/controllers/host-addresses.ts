import { Node } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'
import { chooseHostAddress, isWithin } from '../host-path/host-address.ts'

/**
 * Gives every node whose agent asks for one (`status.agent.hostAddresses`) an address that no other node has
 * (`status.hostAddress`). A node keeps what it has while that lies in the range that its agent names. Where two have the
 * same, which only somebody else can have written, the younger gets another.
 */
export class HostAddresses {
  readonly #store: ResourceStore
  readonly #nodes: Informer<Node>
  /** By node, because the informer's copy may be older than what was written last. */
  readonly #given = new Map<string, string>()

  constructor({ store, nodes }: { store: ResourceStore; nodes: Informer<Node> }) {
    this.#store = store
    this.#nodes = nodes
  }

  /** Looks at one node by its name. Nothing else may run between choosing and noting, so neither waits. */
  async reconcile(name: string): Promise<ReconcileResult> {
    const node = this.#nodes.get({ name })
    if (!node) this.#given.delete(name)
    const range = node?.status?.agent?.hostAddresses
    if (!node || range === undefined) return { done: true }
    const address = this.#choose(node, range)
    if (address === undefined || address === node.status?.hostAddress) return { done: true }
    this.#given.set(name, address)
    const patch = { metadata: { uid: node.metadata.uid }, status: { hostAddress: address } }
    await this.#store.patch(Node, { name }, patch, { subresource: 'status' })
    return { done: true }
  }

  #choose(node: Node, range: string): string | undefined {
    const { name, uid } = node.metadata
    const others = this.#nodes.items().filter((other) => other.metadata.name !== name)
    const present = this.#given.get(name) ?? node.status?.hostAddress
    const rivals = others.filter((other) => present !== undefined && this.#addressOf(other) === present)
    if (present !== undefined && isWithin(range, present) && !rivals.some((rival) => isOlder(rival, node)))
      return present
    return chooseHostAddress(range, uid!, new Set(others.map((other) => this.#addressOf(other) ?? '')))
  }

  #addressOf({ metadata, status }: Node): string | undefined {
    return this.#given.get(metadata.name) ?? status?.hostAddress
  }
}

function isOlder(one: Node, other: Node): boolean {
  const key = ({ metadata }: Node): string => `${metadata.creationTimestamp} ${metadata.name}`
  return key(one) < key(other)
}
