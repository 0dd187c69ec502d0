import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { apiVersionOf, Endpoint, Network, Node } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { createInformer, EmbeddedStore, type ResourceStore } from '../../store/index.ts'
import type { NetworkEngine } from '../engine.ts'
import { createFakeKernel, FakeEngine, type FakeKernel } from '../fake-engine.ts'
import { Attachments } from './attachments.ts'
import { startFakeControl, type Decision, type FakeControl } from './fake-control.ts'
import { openJournal, type Journal } from './journal.ts'
import { podEndpointNameFor } from './endpoint-name.ts'
import { podReference } from './endpoint-facts.ts'
import type { Patience } from './endpoint-objects.ts'
import type { AddRequest, Pod } from './wish.ts'

/** What a test may put between the attachments and what they work on. */
export interface Interposed {
  store?: (store: ResourceStore) => ResourceStore
  engine?: (engine: NetworkEngine) => NetworkEngine
  journal?: (journal: Journal) => Journal
  bootId?: string
  patience?: Partial<Patience>
}

/** A store with control's decisions, a kernel and a journal that outlive the agent; for unit tests only. */
export class TestNode implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'carbonado-attachments-'))
  readonly store = new EmbeddedStore({ file: join(this.directory, 'store.db') })
  readonly kernel: FakeKernel = createFakeKernel()
  readonly goneNamespaces = new Set<string>()
  readonly nodeName = 'n1'
  /** Of the agents that start from then on. */
  podsOwnEndpoints = false
  control!: FakeControl
  attachments!: Attachments
  #journal: Journal | undefined

  static async create(decide?: (endpoint: Endpoint) => Decision, interposed?: Interposed): Promise<TestNode> {
    const node = new TestNode()
    await node.store.create(Node, {
      apiVersion: apiVersionOf(Node),
      kind: 'Node',
      metadata: { name: node.nodeName },
      spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 1000 },
    })
    node.control = await startFakeControl(node.store, decide)
    await node.startAgent(interposed)
    return node
  }

  get journal(): Journal {
    return this.#journal!
  }

  /** Starts the agent's part on the journal of the one before, which must have been stopped or abandoned. */
  async startAgent(interposed: Interposed = {}): Promise<void> {
    const { nodeName, directory, podsOwnEndpoints } = this
    const logger = silentLogger()
    this.#journal = openJournal({ file: join(directory, 'journal.db'), bootId: interposed.bootId ?? 'boot-1', logger })
    const store = interposed.store?.(this.store) ?? this.store
    const engine = new FakeEngine(this.kernel)
    this.attachments = new Attachments({
      nodeName,
      store,
      informer: createInformer(store, Endpoint, { selection: { fieldSelector: `spec.nodeName=${nodeName}` }, logger }),
      engine: interposed.engine?.(engine) ?? engine,
      journal: interposed.journal?.(this.#journal) ?? this.#journal,
      logger,
      patience: { release: 1_000, ...interposed.patience },
      podsOwnEndpoints,
      netnsState: (path) => (path === '' || this.goneNamespaces.has(path) ? 'gone' : 'network-namespace'),
    })
    await this.attachments.start()
  }

  async stopAgent(): Promise<void> {
    await this.attachments.stop()
    this.#journal?.close()
  }

  /** As kill -9: the journal's file is let go of and nothing else happens. */
  abandonAgent(): void {
    void this.attachments.stop() // ends its watch; it may never finish
    this.#journal?.close()
  }

  endpoints(): Promise<Endpoint[]> {
    return this.store.list(Endpoint).then(({ items }) => items)
  }

  async createStatic(name: string, namespace = 'default'): Promise<void> {
    await this.store.create(Endpoint, {
      apiVersion: apiVersionOf(Endpoint),
      kind: 'Endpoint',
      metadata: { name, namespace },
      spec: { networkName: 'blue', isStatic: true },
    })
  }

  /** Makes the endpoint of a pod's first interface as control does when the pod is bound to the node. */
  async prepare({ namespace, name, uid }: Required<Pod>, networkName = 'blue'): Promise<void> {
    await this.store.create(Endpoint, {
      apiVersion: apiVersionOf(Endpoint),
      kind: 'Endpoint',
      metadata: {
        name: podEndpointNameFor({ name, uid }, 'eth0'),
        namespace,
        ownerReferences: [podReference({ name, uid })],
      },
      spec: { networkName, isStatic: false, nodeName: this.nodeName },
    })
  }

  /** Makes a network with the counts that control would write; for choices by the agent alone. */
  async createNetwork(name: string, counts: { group?: string; total: number; used: number }): Promise<void> {
    const { group, ...usage } = counts
    const networkGroup = group === undefined ? {} : { networkGroup: group }
    await this.store.create(Network, {
      apiVersion: apiVersionOf(Network),
      kind: 'Network',
      metadata: { name },
      spec: { subnets: [{ cidr: '10.0.0.0/16', ranges: [] }], plane: 'pods', isDefault: false, ...networkGroup },
    })
    await this.store.patch(Network, { name }, { status: { usage } }, { subresource: 'status' })
  }

  /** Makes another node, as control sees it. */
  async createNode(name: string, { isReady }: { isReady: boolean }): Promise<void> {
    await this.store.create(Node, {
      apiVersion: apiVersionOf(Node),
      kind: 'Node',
      metadata: { name },
      spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 1000 },
    })
    const ready = { state: isReady, reason: '', message: '', since: '' }
    const agent = { heartbeat: '', address: '', version: '', linkRate: 0, mtu: 1500, carrier: true, problems: [] }
    await this.store.patch(Node, { name }, { status: { ready, agent } }, { subresource: 'status' })
  }

  /** Gives a static endpoint to a container of another node, whoever has it. */
  async holdElsewhere(name: string, nodeName: string): Promise<void> {
    const spec = { nodeName, holder: { containerId: 'elsewhere', interfaceName: 'eth0' } }
    await this.store.patch(Endpoint, { name, namespace: 'default' }, { spec })
  }

  /** Loses the journal of an agent that is stopped, or one of the files beside it. */
  forgetJournal(suffix = ''): void {
    rmSync(join(this.directory, `journal.db${suffix}`), { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent().catch(() => {})
    await this.control.stop()
    await this.store.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** A request for a new endpoint on the network blue. */
export function addRequest(overrides: Partial<AddRequest> = {}): AddRequest {
  return {
    cniNetwork: 'cluster',
    containerId: 'c1',
    interfaceName: 'eth0',
    netns: '/run/netns/c1',
    wish: { kind: 'dynamic', networkName: 'blue' },
    ...overrides,
  }
}

/** Waits until a condition holds. Throws after some seconds, with what `describe` says. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  describe: () => unknown = () => condition.toString(),
): Promise<void> {
  const giveUp = Date.now() + 20_000
  while (!(await condition())) {
    if (Date.now() > giveUp) throw new Error(`it did not come true: ${JSON.stringify(await describe())}`)
    await delay(2)
  }
}
