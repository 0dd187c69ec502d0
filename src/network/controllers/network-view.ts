import type { Endpoint, Network, Node, PerfTier } from '../../api/index.ts'
import { Network as NetworkKind, Node as NodeKind, PerfTier as PerfTierKind } from '../../api/index.ts'
import { findObject, type Informer, type ResourceStore } from '../../store/index.ts'

/** Copies in memory of everything that the controllers decide by. */
export interface NetworkView {
  networks: Informer<Network>
  tiers: Informer<PerfTier>
  nodes: Informer<Node>
  endpoints: Informer<Endpoint>
}

/** Reads by name from the copies, and from the store what they do not have yet; undefined when it does not exist. */
export class Lookup {
  readonly #store: ResourceStore
  readonly #view: NetworkView

  constructor(store: ResourceStore, view: NetworkView) {
    this.#store = store
    this.#view = view
  }

  network(name: string): Promise<Network | undefined> | Network | undefined {
    return this.#view.networks.get({ name }) ?? findObject(this.#store, NetworkKind, { name })
  }

  tier(name: string): Promise<PerfTier | undefined> | PerfTier | undefined {
    return this.#view.tiers.get({ name }) ?? findObject(this.#store, PerfTierKind, { name })
  }

  node(name: string): Promise<Node | undefined> | Node | undefined {
    return this.#view.nodes.get({ name }) ?? findObject(this.#store, NodeKind, { name })
  }
}

/** The reference in a work queue's key, `namespace/name`. */
export function referenceOf(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/')
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) }
}
