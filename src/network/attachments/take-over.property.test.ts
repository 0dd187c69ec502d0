import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { attachmentFinalizer, Endpoint, Network, Node } from '../../api/index.ts'
import { silentLogger, Unavailable } from '../../base/index.ts'
import { createInformer, EmbeddedStore, type ResourceStore } from '../../store/index.ts'
import { networkAdmission } from '../control.ts'
import { createFakeKernel, FakeEngine } from '../fake-engine.ts'
import { Attachments } from './attachments.ts'
import { startFakeControl, type FakeControl } from './fake-control.ts'
import { openJournal, type Journal } from './journal.ts'
import { KillSwitch } from './kill-switch.ts'
import type { AddRequest, EndpointWish } from './wish.ts'

/**
 * The life of static endpoints across nodes, against a model that knows only this: an endpoint is in the kernel of one
 * living node at most. Agents die and come back, are cut off from control, lose answers; nodes are stated to be off,
 * rightly, and their endpoints given away.
 */
type Step =
  | { do: 'add'; node: number; container: number; wish: EndpointWish }
  | { do: 'del'; node: number; container: number }
  | { do: 'kill'; node: number; after: number }
  | { do: 'cutOff'; node: number; isCut: boolean }
  | { do: 'loseAnswers'; node: number; count: number }
  | { do: 'takeOver'; node: number }
  | { do: 'wait' }

const nodeCount = 3
const runs = 40
const stepsPerRun = 250

const node = fc.nat(nodeCount - 1)
const container = fc.nat(5)
const wish = fc.oneof(
  fc.constantFrom('s-0', 's-1', 's-2').map((endpointName): EndpointWish => ({ kind: 'static', endpointName })),
  fc.constant<EndpointWish>({ kind: 'any-static', prefix: 's' }),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 40, arbitrary: fc.record({ do: fc.constant('add' as const), node, container, wish }) },
  { weight: 30, arbitrary: fc.record({ do: fc.constant('del' as const), node, container }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('kill' as const), node, after: fc.nat(10) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('cutOff' as const), node, isCut: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('loseAnswers' as const), node, count: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('takeOver' as const), node }) },
  { weight: 14, arbitrary: fc.constant({ do: 'wait' as const }) },
) // prettier-ignore

const counts = { steps: 0, attached: 0, kills: 0, lost: 0, takeOvers: 0 }

/** What lies between an agent and control. */
class Line {
  isCut = false
  answersToLose = 0

  through(store: ResourceStore): ResourceStore {
    const writes = ['create', 'patch', 'update', 'delete']
    return new Proxy(store, {
      get: (_, property) => {
        const value = Reflect.get(store, property) as unknown
        if (typeof value !== 'function' || property === 'watch') return typeof value === 'function' ? value.bind(store) : value // prettier-ignore
        const call = (value as (...args: unknown[]) => Promise<unknown>).bind(store)
        return async (...args: unknown[]) => {
          if (this.isCut) throw new Unavailable('control cannot be reached')
          const answer = await call(...args)
          if (!writes.includes(String(property)) || this.answersToLose === 0) return answer
          this.answersToLose -= 1
          counts.lost += 1
          throw new Unavailable('the answer was lost')
        }
      },
    })
  }
}

class WorldNode {
  readonly name: string
  readonly kernel = createFakeKernel()
  readonly line = new Line()
  #kill = new KillSwitch(0)
  #journal!: Journal
  attachments!: Attachments
  #boot = 1
  readonly #world: World

  constructor(name: string, world: World) {
    this.name = name
    this.#world = world
  }

  async start(): Promise<void> {
    this.#kill = new KillSwitch(0)
    const logger = silentLogger()
    const { interpose } = { interpose: this.#kill.interpose() }
    const store = interpose.store!(this.line.through(this.#world.store))
    this.#journal = openJournal({ file: join(this.#world.folder, `${this.name}.db`), bootId: `b${this.#boot}`, logger })
    this.attachments = new Attachments({
      nodeName: this.name,
      store,
      informer: createInformer(store, Endpoint, { selection: { fieldSelector: `spec.nodeName=${this.name}` }, logger }),
      engine: interpose.engine!(new WatchedEngine(this.kernel, () => this.#world.check())),
      journal: interpose.journal!(this.#journal),
      logger,
      patience: { release: 20, answer: 500, allocation: 500 },
      netnsState: () => 'network-namespace',
    })
    await Promise.race([this.attachments.start().catch(() => {}), this.#kill.died])
  }

  killAfter(effects: number): void {
    this.#kill.killAfter(effects)
  }

  get isDead(): boolean {
    return this.#kill.isDead
  }

  abandon(): void {
    this.#kill.kill()
    void this.attachments.stop()
    this.#journal.close()
  }

  /** The power goes: nothing that ran here sends any more. */
  cutPower(): void {
    this.abandon()
    this.kernel.attachments.clear()
    this.#boot += 1
  }
}

class WatchedEngine extends FakeEngine {
  readonly #onAttached: () => void

  constructor(kernel: ConstructorParameters<typeof FakeEngine>[0], onAttached: () => void) {
    super(kernel)
    this.#onAttached = onAttached
  }

  override async attach(...parameters: Parameters<FakeEngine['attach']>): ReturnType<FakeEngine['attach']> {
    const attached = await super.attach(...parameters)
    counts.attached += 1
    this.#onAttached()
    return attached
  }
}

class World implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'carbonado-take-over-'))
  readonly store = new EmbeddedStore({ file: join(this.folder, 'store.db'), admit: networkAdmission })
  readonly nodes = Array.from({ length: nodeCount }, (_, index) => new WorldNode(`n${index}`, this))
  readonly #calls = new Set<Promise<unknown>>()
  #control!: FakeControl

  static async create(): Promise<World> {
    const world = new World()
    const { store } = world
    await store.create(Network, { metadata: { name: 'blue' }, spec: { subnets: [{ cidr: '10.0.0.0/16', ranges: [] }], plane: 'pods', isDefault: false } }) // prettier-ignore
    for (const { name } of world.nodes) {
      await store.create(Node, { metadata: { name }, spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 100 } }) // prettier-ignore
    }
    for (const name of ['s-0', 's-1', 's-2']) {
      await store.create(Endpoint, { metadata: { name, namespace: 'default' }, spec: { networkName: 'blue', isStatic: true } }) // prettier-ignore
    }
    world.#control = await startFakeControl(store)
    for (const each of world.nodes) await each.start()
    return world
  }

  async take(each: Step): Promise<void> {
    counts.steps += 1
    await this.#act(each)
    await nextTurn()
    for (const dead of this.nodes.filter(({ isDead }) => isDead)) {
      counts.kills += 1
      dead.abandon()
      await dead.start()
    }
    this.check()
  }

  async #act(each: Step): Promise<void> {
    if (each.do === 'wait') return void (await new Promise((resolve) => setTimeout(resolve, 1)))
    const place = this.nodes[each.node]!
    switch (each.do) {
      case 'add':
        return this.#call(place.attachments.add(requestOf(place, each.container, each.wish)))
      case 'del':
        return this.#call(place.attachments.remove(requestOf(place, each.container)))
      case 'kill':
        return place.killAfter(each.after)
      case 'cutOff':
        place.line.isCut = each.isCut
        return
      case 'loseAnswers':
        place.line.answersToLose = each.count
        return
      case 'takeOver':
        return this.#takeOver(place)
    }
  }

  /** As `node delete --node-is-off` does, after the power was cut; then the server is switched on again after all. */
  async #takeOver(place: WorldNode): Promise<void> {
    counts.takeOvers += 1
    place.cutPower()
    for (const { metadata, spec } of this.store.reader.list(Endpoint)) {
      if (spec.nodeName !== place.name) continue
      const finalizers = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== attachmentFinalizer)
      const { name, namespace } = metadata
      await this.store.patch(Endpoint, { name, namespace }, { status: { attachment: null } }, { subresource: 'status' })
      await this.store.patch(Endpoint, { name, namespace }, { metadata: { finalizers }, spec: { nodeName: null, holder: null } }) // prettier-ignore
    }
    await place.start()
  }

  #call(call: Promise<unknown>): void {
    const settled = call.catch(() => {}).finally(() => this.#calls.delete(settled))
    this.#calls.add(settled)
  }

  /** What must hold at every moment, and right after each attachment. */
  check(): void {
    const holders = new Map<string, string>()
    for (const { name, kernel } of this.nodes) {
      for (const { endpointId, endpointName, containerId } of kernel.attachments.values()) {
        const other = holders.get(endpointId)
        if (other !== undefined) throw new Error(`${endpointName} is held by ${other} and by ${containerId} on ${name}`)
        holders.set(endpointId, `${containerId} on ${name}`)
      }
    }
  }

  /** With the lines whole again and nobody wanting anything, every endpoint is free within moments. */
  async settle(): Promise<void> {
    for (const each of this.nodes) Object.assign(each.line, { isCut: false, answersToLose: 0 })
    for (const each of this.nodes) {
      each.abandon()
      await each.start()
    }
    const isFree = (): boolean =>
      this.store.reader.list(Endpoint).every(({ spec }) => spec.holder === undefined && spec.nodeName === undefined) &&
      this.nodes.every(({ kernel }) => kernel.attachments.size === 0)
    const giveUp = performance.now() + 20_000
    while (!isFree()) {
      if (performance.now() > giveUp) throw new Error(`held: ${JSON.stringify(this.store.reader.list(Endpoint))}`)
      const removals = this.nodes.flatMap((each) =>
        Array.from({ length: 6 }, (_, number) => each.attachments.remove(requestOf(each, number))),
      )
      await Promise.all(removals)
      await nextTurn()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.nodes) each.abandon()
    await this.#control.stop()
    await this.store.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function requestOf({ name }: WorldNode, number: number, wish: EndpointWish = { kind: 'dynamic' }): AddRequest {
  const containerId = `${name}-c${number}`
  return { cniNetwork: 'cluster', containerId, interfaceName: 'eth0', netns: `/run/netns/${containerId}`, wish }
}

test('a static endpoint never has two holders, and is free again when nobody wants it', async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: stepsPerRun, maxLength: stepsPerRun, size: 'max' }),
    async (steps) => {
      await using world = await World.create()
      for (const each of steps) await world.take(each)
      await world.settle()
    },
  )
  await fc.assert(property, { numRuns: runs, endOnFailure: true })
  expect(counts.steps).toBeGreaterThanOrEqual(10_000)
  expect(counts.attached).toBeGreaterThan(500)
  expect(counts.kills).toBeGreaterThan(50)
  expect(counts.lost).toBeGreaterThan(50)
  expect(counts.takeOvers).toBeGreaterThan(50)
}, 180_000)
