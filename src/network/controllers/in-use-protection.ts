import { Endpoint, Network, PerfTier, type KindDefinition, type KubeObject } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import { isStale, type Informer, type ResourceStore } from '../../store/index.ts'
import { endpointsOfTier, inUseFinalizer } from '../admission/network-users.ts'

/**
 * Keeps networks and tiers from going while something uses them. Admission refuses such a deletion, but where it is
 * not part of the store's transaction a use can begin meanwhile. So each carries a finalizer; a deletion first
 * marks the object, from then on admission lets no new use begin, and the finalizer goes when a read of the store
 * after that mark finds no use.
 */
class InUseProtection<T extends KubeObject> {
  readonly #store: ResourceStore
  readonly #kind: KindDefinition<T>
  readonly #objects: Informer<T>
  readonly #isUsed: (name: string) => Promise<boolean>

  constructor(
    store: ResourceStore,
    kind: KindDefinition<T>,
    objects: Informer<T>,
    isUsed: (name: string) => Promise<boolean>,
  ) {
    this.#store = store
    this.#kind = kind
    this.#objects = objects
    this.#isUsed = isUsed
  }

  /** Sets the finalizer on an object that lives, and takes it away from one that is to go and is unused. */
  async reconcile(name: string): Promise<ReconcileResult> {
    const object = this.#objects.get({ name })
    if (!object) return { done: true }
    const { finalizers = [], deletionTimestamp } = object.metadata
    const has = finalizers.includes(inUseFinalizer)
    if (!deletionTimestamp && !has) return this.#write(object, [...finalizers, inUseFinalizer])
    if (!deletionTimestamp || !has || (await this.#isUsed(name))) return { done: true }
    return this.#write(
      object,
      finalizers.filter((finalizer) => finalizer !== inUseFinalizer),
    )
  }

  async #write({ metadata }: T, finalizers: string[]): Promise<ReconcileResult> {
    const { name, resourceVersion } = metadata
    try {
      await this.#store.patch(this.#kind, { name }, { metadata: { finalizers } }, { resourceVersion })
      return { done: true }
    } catch (error) {
      if (isStale(error)) return { requeueAfter: 50 }
      throw error
    }
  }
}

/** Whether the store has an endpoint of the network now. */
async function isNetworkUsed(store: ResourceStore, name: string): Promise<boolean> {
  const users = await store.list(Endpoint, { fieldSelector: `spec.networkName=${name}`, limit: 1 })
  return users.items.length > 0
}

/** Whether the store has a network or an endpoint of the tier now. */
async function isTierUsed(store: ResourceStore, name: string): Promise<boolean> {
  const networks = (await store.list(Network)).items
  if (networks.some(({ spec }) => spec.perfTierName === name)) return true
  return endpointsOfTier((await store.list(Endpoint)).items, networks, name).length > 0
}

/** The protection of networks. */
export function networkProtection(store: ResourceStore, networks: Informer<Network>): InUseProtection<Network> {
  return new InUseProtection(store, Network, networks, (name) => isNetworkUsed(store, name))
}

/** The protection of tiers. */
export function tierProtection(store: ResourceStore, tiers: Informer<PerfTier>): InUseProtection<PerfTier> {
  return new InUseProtection(store, PerfTier, tiers, (name) => isTierUsed(store, name))
}
