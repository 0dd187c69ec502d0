import { hostname } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import {
  AddressClaim,
  Endpoint,
  MacClaim,
  Network,
  Node,
  PerfTier,
  type KindDefinition,
  type KubeObject,
} from '../api/index.ts'
import { controlQueues, type Logger, type WorkQueue } from '../base/index.ts'
import { CapacityLedger } from '../guarantee/index.ts'
import { createInformer, EventRecorder, type Informer, type InformerOf, type ResourceStore } from '../store/index.ts'
import { ClaimBook } from './addresses/claim-book.ts'
import { endpointKey } from './addresses/claim-index.ts'
import { tierNameOf } from './admission/network-users.ts'
import { promisedTo } from './controllers/allocation.ts'
import {
  createDefaultTiers,
  DecisionWait,
  EndpointController,
  EndpointEvents,
  HostAddresses,
  networkProtection,
  NodeCapacity,
  machineClock,
  NodeHealth,
  reconcileUsage,
  tierProtection,
  type Clock,
} from './controllers/index.ts'

export { admitPrimarySubnets, networkAdmission } from './admission/index.ts'

/** Settings of the network's controllers. */
export interface NetworkControllersOptions {
  logger: Logger
  /** Copies that others use, too; the controllers have copies of their own unless told. */
  informerOf?: InformerOf
  clock?: Clock
  /** Who records events, beside the controller's name; the host's name unless told. */
  instance?: string
}

/** The running controllers. */
export interface NetworkControllers {
  /** Resolves when an endpoint that was just written is decided about, or takes longer than a moment. */
  settled(kind: KindDefinition, object: KubeObject): Promise<void> | undefined
  /** Stops taking changes and waits for what is being done. */
  stop(): Promise<void>
}

/** Milliseconds for which an answer waits for a decision, which normally takes less than one. */
const decisionPatience = 200

/** Milliseconds for which what is promised or used gathers before the count is written: many endpoints come at once. */
const countsDelay = 500
/** Milliseconds for which changes of a node itself gather before its promises are judged anew. */
const nodeDelay = 100

/**
 * Starts the controllers of the network: endpoints and their claims, usage of networks, health and capacity of nodes,
 * protection of what is in use. Resolves once their view of the store is complete and work has begun.
 * Only one process may run them at a time.
 */
export async function startNetworkControllers(
  store: ResourceStore,
  options: NetworkControllersOptions,
): Promise<NetworkControllers> {
  await createDefaultTiers(store)
  const controllers = new Controllers(store, options)
  await controllers.start()
  return controllers
}

class Controllers implements NetworkControllers {
  readonly #networks: Informer<Network>
  readonly #tiers: Informer<PerfTier>
  readonly #nodes: Informer<Node>
  readonly #endpoints: Informer<Endpoint>
  readonly #addresses: Informer<AddressClaim>
  readonly #macs: Informer<MacClaim>
  readonly #decisions: DecisionWait
  readonly #book: ClaimBook
  readonly #ledger: CapacityLedger
  readonly #recorder: EventRecorder
  readonly #queues: Record<'endpoint' | 'usage' | 'capacity' | 'health' | 'hostAddress' | 'network' | 'tier', WorkQueue>
  #started = false

  constructor(
    store: ResourceStore,
    { logger, informerOf, clock = machineClock, instance = hostname() }: NetworkControllersOptions,
  ) {
    const informer: InformerOf = informerOf ?? ((kind) => createInformer(store, kind, { logger }))
    const networks = (this.#networks = informer(Network))
    const tiers = (this.#tiers = informer(PerfTier))
    const nodes = (this.#nodes = informer(Node))
    const endpoints = (this.#endpoints = informer(Endpoint))
    this.#decisions = new DecisionWait(endpoints)
    this.#addresses = informer(AddressClaim)
    this.#macs = informer(MacClaim)
    const book = (this.#book = new ClaimBook(store))
    const ledger = (this.#ledger = new CapacityLedger((nodeName) =>
      this.#queues.capacity.addAfter(nodeName, countsDelay),
    ))
    const recorder = (this.#recorder = new EventRecorder(
      store,
      { controller: 'carbonado.io/network', instance },
      logger,
    ))
    const view = { networks, tiers, nodes, endpoints }
    const endpoint = new EndpointController({ store, view, book, ledger, events: new EndpointEvents(recorder) })
    const health = new NodeHealth({ store, nodes, recorder, clock })
    const capacity = new NodeCapacity({ store, nodes, endpoints, ledger, recorder, clock })
    const hostAddresses = new HostAddresses({ store, nodes })
    const [networkGuard, tierGuard] = [networkProtection(store, networks), tierProtection(store, tiers)]
    const queue = controlQueues(logger)
    this.#queues = {
      endpoint: queue('endpoint', (key) => endpoint.reconcile(key)),
      usage: queue('usage of a network', (key) => reconcileUsage(key, { store, networks, book })),
      capacity: queue('capacity of a node', (key) => capacity.reconcile(key)),
      health: queue('health of a node', (key) => health.reconcile(key)),
      hostAddress: queue('address of a node', (key) => hostAddresses.reconcile(key)),
      network: queue('protection of a network', (key) => networkGuard.reconcile(key)),
      tier: queue('protection of a perf-tier', (key) => tierGuard.reconcile(key)),
    }
  }

  /** Endpoints last: every claim in memory then belongs to an endpoint that was listed later, or to none. */
  async start(): Promise<void> {
    this.#follow()
    await Promise.all([this.#networks, this.#tiers, this.#nodes, this.#addresses, this.#macs].map((i) => i.start()))
    await this.#endpoints.start()
    this.#started = true
    for (const { metadata } of this.#nodes.items()) this.#nodeChanged(metadata.name)
    for (const { metadata } of this.#networks.items()) this.#networkChanged(metadata.name)
    for (const { metadata } of this.#tiers.items()) this.#queues.tier.add(metadata.name)
    for (const { metadata } of this.#endpoints.items()) this.#queues.endpoint.add(endpointKey(metadata))
    for (const claim of [...this.#addresses.items(), ...this.#macs.items()]) this.#checkOwner(claim)
  }

  settled(kind: KindDefinition, object: KubeObject): Promise<void> | undefined {
    return kind.kind === Endpoint.kind ? this.#decisions.settled(object as Endpoint, decisionPatience) : undefined
  }

  async stop(): Promise<void> {
    const informers = [this.#networks, this.#tiers, this.#nodes, this.#endpoints, this.#addresses, this.#macs]
    await Promise.all(informers.map((informer) => informer.stop()))
    await Promise.all(Object.values(this.#queues).map((queue) => queue.stop()))
    await this.#recorder.flush()
  }

  #follow(): void {
    this.#networks.onChange(({ type, object, previous }) => {
      if (type === 'DELETED') this.#book.dropNetwork(object.metadata.name)
      else if (!isDeepStrictEqual(object.spec, previous?.spec)) this.#book.putNetwork(object)
      this.#networkChanged(object.metadata.name)
      if (previous && previous.spec.perfTierName !== object.spec.perfTierName) {
        this.#addEndpoints(({ spec }) => spec.networkName === object.metadata.name)
        if (previous.spec.perfTierName !== undefined) this.#queues.tier.add(previous.spec.perfTierName)
      }
      if (type === 'DELETED' && object.spec.perfTierName !== undefined) this.#queues.tier.add(object.spec.perfTierName)
    })
    this.#tiers.onChange(({ type, object }) => {
      const { name } = object.metadata
      this.#queues.tier.add(name)
      if (type === 'MODIFIED') this.#addEndpoints((endpoint) => this.#tierOf(endpoint) === name)
    })
    this.#nodes.onChange(({ object, previous }) => {
      // news of a count that was written here is no reason to count again
      const isCount = previous && !isDeepStrictEqual(previous.status?.capacity, object.status?.capacity)
      this.#nodeChanged(object.metadata.name, isCount ? countsDelay : nodeDelay)
    })
    this.#endpoints.onChange(({ type, object }) => this.#endpointChanged(type, object))
    this.#addresses.onChange(({ type, object }) => {
      if (type === 'DELETED') this.#book.dropAddress(object)
      else this.#book.putAddress(object)
      this.#queues.usage.addAfter(object.spec.networkName, countsDelay)
      if (type === 'ADDED') this.#checkOwner(object)
    })
    this.#macs.onChange(({ type, object }) => {
      if (type === 'DELETED') this.#book.dropMac(object)
      else this.#book.putMac(object)
      if (type === 'ADDED') this.#checkOwner(object)
    })
  }

  #endpointChanged(type: 'ADDED' | 'MODIFIED' | 'DELETED', endpoint: Endpoint): void {
    const uid = endpoint.metadata.uid!
    if (type === 'DELETED') {
      this.#ledger.release(uid)
      this.#networkUserGone(endpoint)
    } else if (!this.#started) {
      const promised = promisedTo(endpoint)
      if (promised) this.#ledger.record(uid, promised.nodeName, promised.amounts)
    }
    if (this.#started) this.#queues.endpoint.add(endpointKey(endpoint.metadata))
  }

  #networkUserGone(endpoint: Endpoint): void {
    const { networkName } = endpoint.spec
    if (this.#networks.get({ name: networkName })?.metadata.deletionTimestamp) this.#queues.network.add(networkName)
    const tierName = this.#tierOf(endpoint)
    if (tierName === undefined) return
    if (this.#tiers.get({ name: tierName })?.metadata.deletionTimestamp) this.#queues.tier.add(tierName)
  }

  /** A claim whose owner is not known here: made by a control process that is gone, or the owner is gone. */
  #checkOwner({ spec }: AddressClaim | MacClaim): void {
    const { namespace, name, uid } = spec.endpoint
    if (!this.#started || this.#endpoints.get({ namespace, name })?.metadata.uid === uid) return
    this.#queues.endpoint.add(endpointKey({ namespace, name }))
  }

  #networkChanged(name: string): void {
    if (!this.#started) return
    this.#queues.network.add(name)
    this.#queues.usage.addAfter(name, countsDelay)
  }

  #nodeChanged(name: string, delay = nodeDelay): void {
    if (!this.#started) return
    this.#queues.health.add(name)
    this.#queues.hostAddress.add(name)
    this.#queues.capacity.addAfter(name, delay)
  }

  #addEndpoints(selects: (endpoint: Endpoint) => boolean): void {
    if (!this.#started) return
    for (const endpoint of this.#endpoints.items()) {
      if (selects(endpoint)) this.#queues.endpoint.add(endpointKey(endpoint.metadata))
    }
  }

  #tierOf(endpoint: Endpoint): string | undefined {
    return tierNameOf(endpoint, this.#networks.get({ name: endpoint.spec.networkName }))
  }
}
