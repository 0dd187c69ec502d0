import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { AddressClaim, Endpoint, Event, MacClaim, Network, PerfTier } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { createInformer, type ResourceStore } from '../../store/index.ts'
import { Attachments, openJournal, type AddRequest, type Journal } from '../attachments/index.ts'
import { createFakeKernel, FakeEngine } from '../fake-engine.ts'
import { ControlFixture, createNetwork, createNode, createStatic, createTier, eventually } from './control-fixture.ts'

/** The agent's side of endpoints on one node, with a kernel that is a fake. */
class Agent {
  readonly kernel = createFakeKernel()
  readonly attachments: Attachments
  readonly #folder = mkdtempSync(join(tmpdir(), 'carbonado-with-agents-'))
  readonly #journal: Journal

  constructor(store: ResourceStore, nodeName: string) {
    const logger = silentLogger()
    this.#journal = openJournal({ file: join(this.#folder, 'journal.db'), bootId: 'boot', logger })
    this.attachments = new Attachments({
      nodeName,
      store,
      informer: createInformer(store, Endpoint, { selection: { fieldSelector: `spec.nodeName=${nodeName}` } }),
      engine: new FakeEngine(this.kernel),
      journal: this.#journal,
      logger,
      netnsState: () => 'network-namespace',
    })
  }

  async stop(): Promise<void> {
    await this.attachments.stop()
    this.#journal.close()
    rmSync(this.#folder, { recursive: true })
  }
}

let control: ControlFixture
let agents: Agent[] = []

async function start(network: Partial<Network['spec']> = {}): Promise<[Agent, Agent]> {
  control = await ControlFixture.start()
  for (const name of ['n1', 'n2']) await createNode(control.store, name)
  await createTier(control.store, 'gold', '600M', '800M')
  await createNetwork(control.store, 'blue', network)
  agents = ['n1', 'n2'].map((name) => new Agent(control.store, name))
  for (const agent of agents) await agent.attachments.start()
  return agents as [Agent, Agent]
}

afterEach(async () => {
  for (const agent of agents) await agent.stop()
  await control[Symbol.asyncDispose]()
})

const add = (containerId: string, wish: Partial<AddRequest['wish']> = {}): AddRequest => ({
  cniNetwork: 'cluster',
  containerId,
  interfaceName: 'eth0',
  netns: `/run/netns/${containerId}`,
  wish: { kind: 'dynamic', networkName: 'blue', ...wish } as AddRequest['wish'],
})

const claims = (): number => control.store.count(AddressClaim) + control.store.count(MacClaim)

it('attaches and detaches a container, and leaves nothing', async () => {
  const [agent] = await start()
  await agent.attachments.add(add('c1'))
  expect(claims()).toBe(2)
  await agent.attachments.remove({ cniNetwork: 'cluster', containerId: 'c1', interfaceName: 'eth0' })
  await eventually(() => (claims() === 0 && control.store.count(Endpoint) === 0 ? true : undefined))
})

it('moves a static endpoint with its address and MAC, and lets nobody else have it meanwhile', async () => {
  const [one, two] = await start()
  await createStatic(control.store, 's', { perfTierName: 'gold' })
  const wish = { kind: 'static', endpointName: 's' } as AddRequest['wish']
  const identity = ({ kernel }: Agent): unknown[] =>
    [...kernel.attachments.values()].map(({ addresses, macAddress }) => ({ addresses, macAddress }))
  await one.attachments.add(add('c1', wish))
  const before = identity(one)
  expect(before).toHaveLength(1)
  await expect(two.attachments.add(add('c2', wish))).rejects.toMatchObject({ code: 'Conflict' })
  await one.attachments.remove({ cniNetwork: 'cluster', containerId: 'c1', interfaceName: 'eth0' })
  await two.attachments.add(add('c2', wish))
  expect(identity(one)).toEqual([])
  expect(identity(two)).toEqual(before)
}, 15_000)

it('lets exactly one of 20 concurrent ADDs on two nodes have the last address, and leaves nothing of the others', async () => {
  const ranges = [{ start: '10.30.0.10', end: '10.30.0.10' }]
  const both = await start({ subnets: [{ cidr: '10.30.0.0/24', ranges }] })
  const adds = Array.from({ length: 20 }, (_, index) => both[index % 2]!.attachments.add(add(`c${index}`)))
  const results = await Promise.allSettled(adds)
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const result of results) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'Exhausted' })
  }
  await eventually(() => (claims() === 2 && control.store.count(Endpoint) === 1 ? true : undefined))
})

it('shapes what is attached when its tier changes', async () => {
  const [agent] = await start()
  await agent.attachments.add(add('c1', { perfTierName: 'gold' }))
  const rates = (): number[] => [...agent.kernel.attachments.values()].map(({ bandwidthFloor }) => bandwidthFloor)
  expect(rates()).toEqual([600e6])
  await control.store.patch(PerfTier, { name: 'gold' }, { spec: { networkBandwidth: '700M' } })
  await eventually(() => (rates()[0] === 700e6 ? true : undefined))
})

it('answers a floor that does not fit with the numbers', async () => {
  const [agent] = await start()
  await agent.attachments.add(add('c1', { perfTierName: 'gold' }))
  const refused = agent.attachments.add(add('c2', { perfTierName: 'gold' }))
  await expect(refused).rejects.toMatchObject({
    code: 'Exhausted',
    message: expect.stringContaining('needs 600 Mbit/s, node n1 has 340 Mbit/s of 940 Mbit/s left'),
  })
  await eventually(() => (claims() === 2 && control.store.count(Endpoint) === 1 ? true : undefined))
  await eventually(async () => (await control.store.list(Event, { fieldSelector: 'reason=EndpointRefused' })).items[0])
})
