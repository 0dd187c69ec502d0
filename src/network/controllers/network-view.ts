import type { Endpoint, KindDefinition, KubeObject, Network, Node, PerfTier } from '../../api/index.ts'
import { Network as NetworkKind, Node as NodeKind, PerfTier as PerfTierKind } from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import type { Informer, ObjectReference, ResourceStore } from '../../store/index.ts'

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
    return this.#view.networks.get({ name }) ?? liveObject(this.#store, NetworkKind, { name })
  }

  tier(name: string): Promise<PerfTier | undefined> | PerfTier | undefined {
    return this.#view.tiers.get({ name }) ?? liveObject(this.#store, PerfTierKind, { name })
  }

  node(name: string): Promise<Node | undefined> | Node | undefined {
    return this.#view.nodes.get({ name }) ?? liveObject(this.#store, NodeKind, { name })
  }
}

/** An object as it is in the store now; undefined when it does not exist. */
export async function liveObject<T extends KubeObject>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  reference: ObjectReference,
): Promise<T | undefined> {
  try {
    return await store.get(kind, reference)
  } catch (error) {
    if (error instanceof CarbonadoError && error.code === 'NotFound') return undefined
    throw error
  }
}

/** The reference in a work queue's key, `namespace/name`. */
export function referenceOf(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/')
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) }
}
