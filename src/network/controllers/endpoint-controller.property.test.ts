import fc from 'fast-check'
import { expect, it } from 'vitest'
import { AddressClaim, attachmentFinalizer, Endpoint, l2DomainOf, MacClaim, Network } from '../../api/index.ts'
import { CarbonadoError, silentLogger } from '../../base/index.ts'
import { promisableBandwidth } from '../../guarantee/index.ts'
import type { AdmissionRequest, SyncReader } from '../../store/index.ts'
import { networkAdmission, startNetworkControllers, type NetworkControllers } from '../control.ts'
import {
  bind,
  createEndpoint,
  createNetwork,
  createNode,
  createStatic,
  createTier,
  eventually,
  StoreFixture,
  unbind,
} from './control-fixture.ts'
import { MortalStore } from '../../store/mortal-store.ts'

const runs = 50
const stepsPerRun = 2000

Error.stackTraceLimit = 4 // tens of thousands of refused requests are part of the game

const names = Array.from({ length: 24 }, (_, index) => `e${index}`)
const name = fc.constantFrom(...names)
const node = fc.constantFrom('n1', 'n2')
const networkName = fc.constantFrom('blue', 'sky', 'green')
const perfTierName = fc.constantFrom('gold', undefined, undefined)

/** Now and then an endpoint asks for an address that others may get or ask for at the same moment. */
const requested = fc.constantFrom('10.30.0.10', '10.30.0.12', '10.30.0.20').map((address) => [address])
const addresses = fc.option(requested, { nil: undefined, freq: 2 })

type Step =
  | { do: 'create'; name: string; node: string; networkName: string; perfTierName?: string; addresses?: string[] }
  | { do: 'createStatic'; name: string; networkName: string; perfTierName?: string; addresses?: string[] }
  | { do: 'bind'; name: string; node: string }
  | { do: 'unbind' | 'delete' | 'detach'; name: string }
  | { do: 'crash'; after: number; lost: boolean }
  | { do: 'settle' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({ do: fc.constant('create' as const), name, node, networkName, perfTierName, addresses }),
  },
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant('createStatic' as const), name, networkName, perfTierName, addresses }),
  },
  { weight: 20, arbitrary: fc.record({ do: fc.constant('bind' as const), name, node }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constantFrom('unbind' as const, 'delete', 'detach', 'detach'), name }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), after: fc.nat(7), lost: fc.boolean() }) },
  { weight: 6, arbitrary: fc.constant({ do: 'settle' as const }) },
)

const counts = { steps: 0, crashes: 0, allocated: 0, refused: 0 }
it('keeps addresses and MACs unique, never frees what is held and leaks nothing, whatever happens when', async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: stepsPerRun, maxLength: stepsPerRun, size: 'max' }),
    async (steps) => {
      await using world = await World.create()
      for (const each of steps) await world.take(each)
      await world.tearDown()
    },
  )
  await fc.assert(property, { numRuns: runs, endOnFailure: true })
  expect(counts.steps).toBeGreaterThanOrEqual(100_000)
  for (const often of [counts.crashes, counts.allocated, counts.refused]) expect(often).toBeGreaterThan(500)
}, 600_000)

/**
 * A store, controllers that die now and then, and agents that do as `Step` says. The rules of admission for claims are
 * off, as on a server without them, and replaced by the check of what must never happen.
 */
class World implements AsyncDisposable {
  readonly #stores: StoreFixture
  readonly #violations: string[] = []
  #mortal!: MortalStore
  #controllers!: NetworkControllers
  /** Addresses and MAC of each static endpoint since it first had them, by uid. */
  readonly #kept = new Map<string, string>()
  #checkedAt = ''
  #unsettledAt = ''

  constructor() {
    this.#stores = new StoreFixture((request, reader) => this.#admit(request, reader))
  }

  static async create(): Promise<World> {
    const world = new World()
    const { store } = world
    await createTier(store, 'gold', '400M')
    for (const each of ['n1', 'n2']) await createNode(store, each)
    const subnets = (start: number, end: number): Network['spec']['subnets'] => [
      { cidr: '10.30.0.0/24', ranges: [{ start: `10.30.0.${start}`, end: `10.30.0.${end}` }] },
      { cidr: 'fd00:30::/64', ranges: [{ start: `fd00:30::${start}`, end: `fd00:30::${end + 2}` }] },
    ]
    await createNetwork(store, 'blue', { subnets: subnets(10, 15) })
    await createNetwork(store, 'sky', { subnets: [subnets(20, 24)[0]!] }) // the same VLAN and subnet as blue
    await createNetwork(store, 'green', { subnets: subnets(10, 14), vlan: 200 })
    await world.#start()
    return world
  }

  get store(): StoreFixture['store'] {
    return this.#stores.store
  }

  async take(each: Step): Promise<void> {
    counts.steps += 1
    try {
      await this.#act(each)
    } catch (error) {
      // what an agent asks for may be impossible at the moment: a name that is taken, a holder that is there
      if (!(error instanceof CarbonadoError) || !['Conflict', 'NotFound', 'InvalidInput'].includes(error.code))
        throw error
    }
    if (this.#mortal.isDead) await this.#restart()
    this.#check()
  }

  /** Deletes everything; then no claim may be left. */
  async tearDown(): Promise<void> {
    for (const { metadata } of this.#endpoints()) await this.#delete(metadata.name)
    for (const { metadata } of this.#endpoints()) await this.#detach(metadata.name)
    await this.#settle()
    expect(this.store.reader.list(AddressClaim)).toEqual([])
    expect(this.store.reader.list(MacClaim)).toEqual([])
    this.#check()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controllers.stop()
    await this.#stores[Symbol.asyncDispose]()
  }

  async #act(each: Step): Promise<void> {
    switch (each.do) {
      case 'create': {
        const { networkName, perfTierName, addresses } = each
        await createEndpoint(this.store, each.name, { nodeName: each.node, networkName, perfTierName, addresses })
        return
      }
      case 'createStatic': {
        const { networkName, perfTierName, addresses } = each
        await createStatic(this.store, each.name, { networkName, perfTierName, addresses })
        return
      }
      case 'bind': {
        await bind(this.store, each.name, each.node, `container-${counts.steps}`)
        return
      }
      case 'unbind': {
        if (this.#get(each.name)?.spec.isStatic) await unbind(this.store, each.name)
        return
      }
      case 'delete':
        return this.#delete(each.name)
      case 'detach':
        return this.#detach(each.name)
      case 'crash':
        return this.#mortal.dieAfter(each.after, each.lost)
      case 'settle':
        return this.#settle()
    }
  }

  async #delete(endpoint: string): Promise<void> {
    await this.store.delete(Endpoint, { namespace: 'default', name: endpoint })
  }

  /** The agent has detached an endpoint that is being deleted. */
  async #detach(endpoint: string): Promise<void> {
    const found = this.#get(endpoint)
    if (!found?.metadata.deletionTimestamp) return
    await this.store.patch(Endpoint, { namespace: 'default', name: endpoint }, { metadata: { finalizers: null } })
  }

  async #start(): Promise<void> {
    this.#mortal = new MortalStore(this.store)
    this.#controllers = await startNetworkControllers(this.#mortal, { logger: silentLogger() })
  }

  async #restart(): Promise<void> {
    counts.crashes += 1
    await this.#controllers.stop()
    await this.#start()
  }

  /** Waits until every endpoint that lives is decided and every claim has an owner. */
  async #settle(): Promise<void> {
    this.#unsettledAt = ''
    await eventually(async () => {
      if (this.#mortal.isDead) await this.#restart()
      return this.#isSettled() ? true : undefined
    }).catch((error: unknown) => {
      throw new Error(`control did not settle: ${JSON.stringify(this.#endpoints())}`, { cause: error })
    })
    for (const endpoint of this.#endpoints()) this.#checkSettled(endpoint)
    this.#checkFloors()
  }

  #isSettled(): boolean {
    if (this.#unsettledAt === this.store.resourceVersion) return false
    this.#unsettledAt = this.store.resourceVersion
    const endpoints = this.#endpoints()
    const uids = new Set(endpoints.map(({ metadata }) => metadata.uid))
    const claims = [...this.store.reader.list(AddressClaim), ...this.store.reader.list(MacClaim)]
    if (claims.some(({ spec }) => !uids.has(spec.endpoint.uid))) return false
    return endpoints.every(
      ({ metadata, status }) =>
        metadata.deletionTimestamp !== undefined || status?.allocation?.generation === metadata.generation,
    )
  }

  /** A decided endpoint has exactly the claims of its allocation; a static one has the addresses and MAC it first had. */
  #checkSettled({ metadata, spec, status }: Endpoint): void {
    const allocation = status?.allocation
    if (allocation?.state === 'Refused') counts.refused += 1
    if (metadata.deletionTimestamp || allocation?.state !== 'Allocated') return
    counts.allocated += 1
    const own = this.store.reader.list(AddressClaim).filter((claim) => claim.spec.endpoint.uid === metadata.uid)
    const held = allocation.addresses.map(({ address }) => address)
    const claimed = own.map((claim) => claim.spec.address)
    if (claimed.toSorted().join() !== held.toSorted().join()) expect(claimed).toEqual(held)
    if (held.length !== (spec.networkName === 'sky' ? 1 : 2)) expect.fail(`${metadata.name} has ${held.join()}`)
    const identity = JSON.stringify([held, allocation.macAddress])
    const kept = this.#kept.get(metadata.uid!) ?? identity
    if (kept !== identity) expect(identity).toBe(kept)
    this.#kept.set(metadata.uid!, identity)
  }

  #checkFloors(): void {
    for (const nodeName of ['n1', 'n2']) {
      const floors = this.#endpoints()
        .filter(
          ({ metadata, spec, status }) =>
            spec.nodeName === nodeName && status?.allocation?.generation === metadata.generation,
        )
        .map(({ status }) => (status!.allocation!.state === 'Allocated' ? status!.allocation!.bandwidthFloor : 0))
      expect(floors.reduce((sum, floor) => sum + floor, 0)).toBeLessThanOrEqual(promisableBandwidth(1e9))
    }
  }

  /** What must hold at every moment; `expect` is asked only when it does not, since it would take a third of the time. */
  #check(): void {
    if (this.#checkedAt === this.store.resourceVersion) return
    this.#checkedAt = this.store.resourceVersion
    const owners = new Map<string, string>()
    for (const { metadata, spec, status } of this.#endpoints()) {
      const allocation = status?.allocation
      if (allocation?.state !== 'Allocated') continue
      const domain = l2DomainOf(this.store.reader.get(Network, { name: spec.networkName })!)
      for (const thing of [allocation.macAddress, ...allocation.addresses.map(({ address }) => address)]) {
        const key = `${domain} ${thing}`
        if (owners.has(key)) this.#violations.push(`${key} belongs to ${owners.get(key)} and ${metadata.name}`)
        owners.set(key, metadata.name)
      }
    }
    if (this.#violations.length > 0) expect(this.#violations).toEqual([])
  }

  #admit(request: AdmissionRequest, reader: SyncReader): void {
    if (request.kind !== AddressClaim && request.kind !== MacClaim) return networkAdmission(request, reader)
    if (request.verb !== 'delete') return
    const claim = request.object as AddressClaim | MacClaim
    const { namespace, name: owner, uid } = claim.spec.endpoint
    const endpoint = reader.get(Endpoint, { namespace, name: owner })
    if (endpoint?.metadata.uid !== uid) return
    const isHeld = endpoint?.metadata.finalizers?.includes(attachmentFinalizer)
    const allocation = endpoint?.status?.allocation
    if (isHeld && (allocation?.state === 'Allocated' || endpoint?.spec.isStatic) && isNamed(claim, allocation)) {
      this.#violations.push(`${claim.metadata.name} was freed while ${owner} may be attached`)
    }
  }

  #endpoints(): Endpoint[] {
    return this.store.reader.list(Endpoint)
  }

  #get(endpoint: string): Endpoint | undefined {
    return this.store.reader.get(Endpoint, { namespace: 'default', name: endpoint })
  }
}

function isNamed(
  { spec }: AddressClaim | MacClaim,
  allocation: NonNullable<Endpoint['status']>['allocation'],
): boolean {
  if (allocation?.state !== 'Allocated') return true
  const thing = 'address' in spec ? spec.address : spec.macAddress
  return thing === allocation.macAddress || allocation.addresses.some(({ address }) => address === thing)
}
