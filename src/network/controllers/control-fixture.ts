import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import {
  attachmentFinalizer,
  Endpoint,
  Network,
  Node,
  PerfTier,
  type Allocation,
  type Refusal,
} from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { EmbeddedStore, type Admit, type ResourceStore } from '../../store/index.ts'
import { networkAdmission, startNetworkControllers, type NetworkControllers } from '../control.ts'
import type { Clock } from './node-health.ts'

/** A store on a file of its own with the network's admission, for tests. */
export class StoreFixture implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'carbonado-network-control-'))
  readonly store: EmbeddedStore

  constructor(admit: Admit = networkAdmission) {
    this.store = new EmbeddedStore({ file: join(this.#folder, 'store.db'), admit })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** The same with the controllers running. */
export class ControlFixture implements AsyncDisposable {
  readonly #stores: StoreFixture
  readonly store: EmbeddedStore
  controllers: NetworkControllers

  constructor(stores: StoreFixture, controllers: NetworkControllers) {
    this.#stores = stores
    this.store = stores.store
    this.controllers = controllers
  }

  static async start(clock?: Clock): Promise<ControlFixture> {
    const stores = new StoreFixture()
    const controllers = await startNetworkControllers(stores.store, { logger: silentLogger(), clock })
    return new ControlFixture(stores, controllers)
  }

  async restart(): Promise<void> {
    await this.controllers.stop()
    this.controllers = await startNetworkControllers(this.store, { logger: silentLogger() })
  }

  /** Waits for control's decision about an endpoint as it is now. */
  async decided(name: string): Promise<Allocation | Refusal> {
    return eventually(async () => {
      const { metadata, status } = await this.store.get(Endpoint, { namespace: 'default', name })
      const allocation = status?.allocation
      return allocation?.generation === metadata.generation ? allocation : undefined
    })
  }

  async allocated(name: string): Promise<Allocation> {
    const decision = await this.decided(name)
    if (decision.state === 'Allocated') return decision
    throw new Error(`endpoint ${name} was refused: ${decision.message}`)
  }

  async refused(name: string): Promise<Refusal> {
    const decision = await this.decided(name)
    if (decision.state === 'Refused') return decision
    throw new Error(`endpoint ${name} was allocated ${JSON.stringify(decision)}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.controllers.stop()
    await this.#stores[Symbol.asyncDispose]()
  }
}

/** Asks again and again, at first without pause, until the answer is not undefined; fails after twenty seconds. */
export async function eventually<T>(ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 20_000
  for (let round = 0; ; round += 1) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > deadline) throw new Error('it did not happen within twenty seconds')
    await (round < 200 ? turn() : pause(5))
  }
}

/** Creates a network; one IPv4 subnet 10.30.0.0/24 on VLAN 100 unless told. */
export function createNetwork(
  store: ResourceStore,
  name = 'blue',
  spec: Partial<Network['spec']> = {},
): Promise<Network> {
  const subnets = [
    { cidr: '10.30.0.0/24', ranges: [{ start: '10.30.0.10', end: '10.30.0.200' }], gateway: '10.30.0.1' },
  ]
  return store.create(Network, {
    metadata: { name },
    spec: { subnets, vlan: 100, plane: 'pods', isDefault: false, ...spec },
  })
}

/** Creates a node with a link of 1 Gbit/s unless told. */
export function createNode(store: ResourceStore, name = 'n1', spec: Partial<Node['spec']> = {}): Promise<Node> {
  const uplinks = { pods: { interface: 'eth0', rate: '1G' } }
  return store.create(Node, { metadata: { name }, spec: { uplinks, maximumInterfaces: 1000, ...spec } })
}

export function createTier(
  store: ResourceStore,
  name: string,
  networkBandwidth: string | number,
  maxNetworkBandwidth?: string | number,
): Promise<PerfTier> {
  return store.create(PerfTier, { metadata: { name }, spec: { networkBandwidth, maxNetworkBandwidth } })
}

/** Creates a dynamic endpoint as an agent does, on node n1 unless told. */
export function createEndpoint(
  store: ResourceStore,
  name: string,
  spec: Partial<Endpoint['spec']> = {},
): Promise<Endpoint> {
  const holder = { containerId: `container-${name}`, interfaceName: 'eth0' }
  return store.create(Endpoint, {
    metadata: { name, namespace: 'default', finalizers: [attachmentFinalizer] },
    spec: { networkName: 'blue', nodeName: 'n1', isStatic: false, holder, ...spec },
  })
}

/** Creates a static endpoint as dctl does. */
export function createStatic(
  store: ResourceStore,
  name: string,
  spec: Partial<Endpoint['spec']> = {},
): Promise<Endpoint> {
  return store.create(Endpoint, {
    metadata: { name, namespace: 'default' },
    spec: { networkName: 'blue', isStatic: true, ...spec },
  })
}

/** Binds a static endpoint to a container, as an agent does. */
export function bind(store: ResourceStore, name: string, nodeName: string, containerId: string): Promise<Endpoint> {
  const patch = {
    metadata: { finalizers: [attachmentFinalizer] },
    spec: { nodeName, holder: { containerId, interfaceName: 'eth0' } },
  }
  return store.patch(Endpoint, { namespace: 'default', name }, patch)
}

/** Takes a static endpoint's holder away, as its agent does after detaching. */
export function unbind(store: ResourceStore, name: string): Promise<Endpoint> {
  const patch = { metadata: { finalizers: null }, spec: { nodeName: null, holder: null } }
  return store.patch(Endpoint, { namespace: 'default', name }, patch)
}

/** Deletes a dynamic endpoint and its finalizer, as its agent does after detaching. */
export async function remove(store: ResourceStore, name: string): Promise<void> {
  await store.delete(Endpoint, { namespace: 'default', name })
  await store.patch(Endpoint, { namespace: 'default', name }, { metadata: { finalizers: null } })
}
