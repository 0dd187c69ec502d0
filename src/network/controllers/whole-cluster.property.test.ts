import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { AddressClaim, Endpoint, MacClaim } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { createInformer, type AdmissionRequest, type ResourceStore, type SyncReader } from '../../store/index.ts'
import { Attachments, openJournal, type AddRequest, type Journal } from '../attachments/index.ts'
import { KillSwitch } from '../attachments/kill-switch.ts'
import { networkAdmission, startNetworkControllers, type NetworkControllers } from '../control.ts'
import type { AttachedEndpoint, AttachRequest, NetworkEngine } from '../engine.ts'
import { createFakeKernel, FakeEngine } from '../fake-engine.ts'
import { createNetwork, createNode, createStatic, eventually, StoreFixture } from './control-fixture.ts'
import { MortalStore } from '../../store/mortal-store.ts'

const runs = 25
const stepsPerRun = 80
const nodeNames = ['n1', 'n2'] as const
const hour = 3_600_000

const container = fc.nat(7)
const nodeIndex = fc.nat(nodeNames.length - 1)

type Step =
  | { do: 'add'; container: number; node: number; static?: string }
  | { do: 'del'; container: number }
  | { do: 'killAgent'; node: number; after: number }
  | { do: 'powerFailure'; node: number }
  | { do: 'killControl'; after: number; lost: boolean }
  | { do: 'setClocks'; hours: number }
  | { do: 'wait' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: fc.record({ do: fc.constant('add' as const), container, node: nodeIndex, static: fc.constantFrom(undefined, undefined, 's1', 's2') }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constant('del' as const), container }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('killAgent' as const), node: nodeIndex, after: fc.nat(12) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('powerFailure' as const), node: nodeIndex }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('killControl' as const), after: fc.nat(7), lost: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('setClocks' as const), hours: fc.constantFrom(-1, 1, 0) }) },
  { weight: 10, arbitrary: fc.constant({ do: 'wait' as const }) },
) // prettier-ignore

const counts = { agentKills: 0, powerFailures: 0, controlKills: 0, attached: 0 }

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())

it('no two live endpoints have one address or MAC and none is freed in use, whatever dies and however clocks jump', async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: stepsPerRun, maxLength: stepsPerRun, size: 'max' }),
    async (steps) => {
      await using cluster = await Cluster.create()
      for (const each of steps) await cluster.take(each)
      await cluster.tearDown()
    },
  )
  await fc.assert(property, { numRuns: runs, endOnFailure: true })
  expect(counts.agentKills).toBeGreaterThan(50)
  expect(counts.powerFailures).toBeGreaterThan(10)
  expect(counts.controlKills).toBeGreaterThan(20)
  expect(counts.attached).toBeGreaterThan(100)
}, 120_000)

/** A node: its kernel and journal outlive the agent, its kernel not the power. */
class ClusterNode {
  readonly name: string
  readonly kernel = createFakeKernel()
  readonly #folder = mkdtempSync(join(tmpdir(), 'carbonado-cluster-'))
  readonly #store: ResourceStore
  readonly #onAttached: () => void
  readonly gone = new Set<string>()
  #boot = 1
  #kill = new KillSwitch(0)
  #journal!: Journal
  attachments!: Attachments

  constructor(name: string, store: ResourceStore, onAttached: () => void) {
    this.name = name
    this.#store = store
    this.#onAttached = onAttached
  }

  get isDead(): boolean {
    return this.#kill.isDead
  }

  async startAgent(): Promise<void> {
    this.#kill = new KillSwitch(0)
    const logger = silentLogger()
    this.#journal = openJournal({ file: join(this.#folder, 'journal.db'), bootId: `boot-${this.#boot}`, logger })
    const interposed = this.#kill.interpose()
    const store = interposed.store!(this.#store)
    this.attachments = new Attachments({
      nodeName: this.name,
      store,
      informer: createInformer(store, Endpoint, { selection: { fieldSelector: `spec.nodeName=${this.name}` }, logger }),
      engine: interposed.engine!(new WatchedEngine(this.kernel, this.#onAttached)),
      journal: interposed.journal!(this.#journal),
      logger,
      patience: { release: 300 },
      netnsState: (path) => (this.gone.has(path) ? 'gone' : 'network-namespace'),
    })
    await Promise.race([this.attachments.start().catch(() => {}), this.#kill.died])
  }

  killAfter(effects: number): void {
    this.#kill.killAfter(effects)
  }

  /** What a dead agent leaves is let go of; nothing else happens. */
  abandon(): void {
    this.#kill.kill()
    void this.attachments.stop() // ends its watch; it may never finish
    this.#journal.close()
  }

  cutPower(netnsPaths: string[]): void {
    this.abandon()
    this.kernel.attachments.clear()
    for (const path of netnsPaths) this.gone.add(path)
    this.#boot += 1
  }

  dispose(): void {
    this.abandon()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Tells when something may send. */
class WatchedEngine extends FakeEngine {
  readonly #onAttached: () => void

  constructor(kernel: ConstructorParameters<typeof FakeEngine>[0], onAttached: () => void) {
    super(kernel)
    this.#onAttached = onAttached
  }

  override async attach(...parameters: Parameters<NetworkEngine['attach']>): Promise<AttachedEndpoint> {
    const attached = await super.attach(...parameters)
    this.#onAttached()
    return attached
  }
}

/** A runtime's view of a container; each life has a name of its own, as each pod has. */
interface Life {
  node: ClusterNode
  request: AddRequest
  isWanted: boolean
}

class Cluster implements AsyncDisposable {
  readonly #stores: StoreFixture
  readonly #violations: string[] = []
  readonly #lives = new Map<number, Life>()
  readonly #calls = new Set<Promise<unknown>>()
  readonly #nodes: ClusterNode[]
  #mortal!: MortalStore
  #controllers!: NetworkControllers
  #made = 0

  constructor() {
    this.#stores = new StoreFixture((request, reader) => this.#admit(request, reader))
    this.#nodes = nodeNames.map((name) => new ClusterNode(name, this.#stores.store, () => this.#check()))
  }

  static async create(): Promise<Cluster> {
    const cluster = new Cluster()
    const { store } = cluster.#stores
    for (const name of nodeNames) await createNode(store, name)
    await createNetwork(store, 'blue', { subnets: [{ cidr: '10.30.0.0/24', ranges: [{ start: '10.30.0.10', end: '10.30.0.16' }] }] }) // prettier-ignore
    for (const name of ['s1', 's2']) await createStatic(store, name)
    await cluster.#startControl()
    for (const node of cluster.#nodes) await node.startAgent()
    return cluster
  }

  async take(each: Step): Promise<void> {
    await this.#act(each)
    if (this.#mortal.isDead) await this.#restartControl()
    for (const node of this.#nodes) if (node.isDead) await this.#restartAgent(node)
    this.#check()
  }

  async #act(each: Step): Promise<void> {
    switch (each.do) {
      case 'add':
        return this.#add(each.container, this.#nodes[each.node]!, each.static)
      case 'del':
        return this.#unwant(each.container)
      case 'killAgent':
        return this.#nodes[each.node]!.killAfter(each.after)
      case 'powerFailure':
        return this.#powerFailure(this.#nodes[each.node]!)
      case 'killControl':
        return this.#mortal.dieAfter(each.after, each.lost)
      case 'setClocks':
        return void vi.setSystemTime(Date.now() + each.hours * hour)
      case 'wait':
        return pause(3)
    }
  }

  async #add(number: number, node: ClusterNode, endpointName?: string): Promise<void> {
    if (this.#lives.has(number)) return
    const containerId = `c${number}-${++this.#made}`
    const wish = endpointName ? { kind: 'static' as const, endpointName } : { kind: 'dynamic' as const, networkName: 'blue' }
    const request = { cniNetwork: 'cluster', containerId, interfaceName: 'eth0', netns: `/run/netns/${containerId}`, wish }
    this.#lives.set(number, { node, request, isWanted: true })
    this.#call(node.attachments.add(request).then(() => void (counts.attached += 1)))
    await pause(1)
  } // prettier-ignore

  async #unwant(number: number): Promise<void> {
    const life = this.#lives.get(number)
    if (!life) return
    life.isWanted = false
    this.#call(this.#remove(number, life))
    await pause(1)
  }

  /** A runtime calls DEL until it succeeds. */
  async #remove(number: number, life: Life): Promise<void> {
    await life.node.attachments.remove(life.request)
    if (this.#lives.get(number) === life) this.#lives.delete(number)
  }

  async #powerFailure(node: ClusterNode): Promise<void> {
    counts.powerFailures += 1
    const here = [...this.#lives].filter(([, life]) => life.node === node)
    node.cutPower(here.map(([, { request }]) => request.netns))
    for (const [number] of here) this.#lives.delete(number)
    await node.startAgent()
  }

  async #restartAgent(node: ClusterNode): Promise<void> {
    counts.agentKills += 1
    node.abandon()
    await node.startAgent()
    for (const [number, life] of this.#lives) {
      if (life.node === node && !life.isWanted) this.#call(this.#remove(number, life))
    }
  }

  /** A call that may fail, or never end because its agent is killed. */
  #call(call: Promise<unknown>): void {
    const settled = call.catch(() => {}).finally(() => this.#calls.delete(settled))
    this.#calls.add(settled)
  }

  async #startControl(): Promise<void> {
    this.#mortal = new MortalStore(this.#stores.store)
    this.#controllers = await startNetworkControllers(this.#mortal, { logger: silentLogger() })
  }

  async #restartControl(): Promise<void> {
    counts.controlKills += 1
    await this.#controllers.stop()
    await this.#startControl()
  }

  /** Takes everything away as runtimes do; then nothing may be left but the static endpoints with their claims. */
  async tearDown(): Promise<void> {
    for (const node of this.#nodes) {
      node.abandon()
      await node.startAgent()
    }
    await this.#restartControl()
    for (const [number, life] of [...this.#lives]) {
      await eventually(() => this.#remove(number, life).then(() => true, () => undefined)) // prettier-ignore
    }
    const { reader } = this.#stores.store
    await eventually(() => {
      const isGone = this.#nodes.every(({ kernel }) => kernel.attachments.size === 0)
      const endpoints = reader.list(Endpoint)
      const areFree = endpoints.every(({ spec }) => spec.isStatic && !spec.holder && !spec.nodeName)
      const claims = reader.list(AddressClaim).length + reader.list(MacClaim).length
      return isGone && areFree && claims === 2 * endpoints.length ? true : undefined
    }).catch((error: unknown) => {
      throw new Error(`something is left: ${JSON.stringify({ endpoints: reader.list(Endpoint), kernels: this.#nodes.map(({ kernel }) => [...kernel.attachments.keys()]) })}`, { cause: error }) // prettier-ignore
    })
    expect(reader.list(Endpoint)).toHaveLength(2)
    this.#check()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes) node.dispose()
    await this.#controllers.stop()
    await this.#stores[Symbol.asyncDispose]()
  }

  #live(): AttachRequest[] {
    return this.#nodes.flatMap(({ kernel }) => [...kernel.attachments.values()])
  }

  /** What must hold at every moment: one holder for each address and MAC among all that can send. */
  #check(): void {
    const owners = new Map<string, string>()
    for (const { endpointId, endpointName, vlan, macAddress, addresses } of this.#live()) {
      for (const thing of [macAddress, ...addresses.map(({ address }) => address)]) {
        const owner = owners.get(`${vlan} ${thing}`)
        if (owner !== undefined) this.#violations.push(`${thing} is used by ${owner} and ${endpointName} ${endpointId}`)
        owners.set(`${vlan} ${thing}`, `${endpointName} ${endpointId}`)
      }
    }
    expect(this.#violations).toEqual([])
  }

  /** A claim must not go while what it claims can be sent from. */
  #admit(request: AdmissionRequest, reader: SyncReader): void {
    networkAdmission(request, reader)
    if (request.verb !== 'delete' || (request.kind !== AddressClaim && request.kind !== MacClaim)) return
    const { spec } = request.object as AddressClaim | MacClaim
    const thing = 'address' in spec ? spec.address : spec.macAddress
    const user = this.#live().find(({ macAddress, addresses }) => [macAddress, ...addresses.map(({ address }) => address)].includes(thing)) // prettier-ignore
    if (user) this.#violations.push(`${thing} was freed while ${user.endpointName} uses it`)
  }
}
