import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Event, Node } from '../../src/api/index.ts'
import { MachineClocks } from '../support/machine-clocks.ts'
import { seededRandom } from '../support/random.ts'
import { runStorm } from '../support/storm.ts'

let lab: Lab
let clocks: MachineClocks

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  clocks = new MachineClocks(lab)
  await Promise.all(lab.nodes.map((node) => lab.stopAgent(node)))
  await lab.stopControl()
  await lab.startControl()
  await Promise.all(lab.nodes.map((node) => lab.startAgent(node)))
  await lab.waitForReady()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/16', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['perf-tier', 'create', 'shaped', '-b', '1M', '-B', '100M'])
})
afterAll(async () => {
  clocks[Symbol.dispose]()
  await lab.down()
})

const ready = async (): Promise<Record<string, boolean>> =>
  Object.fromEntries((await lab.store.list(Node)).items.map(({ metadata, status }) => [metadata.name, status?.ready?.state ?? false])) // prettier-ignore

it('clocks that are set back and forth move the times in objects, so that the rest of these tests means something', async () => {
  await clocks.set('control', 1)
  const { metadata } = await lab.store.create(Event, { metadata: { name: 'probe', namespace: 'default' }, eventTime: new Date().toISOString(), reportingController: 'test', reportingInstance: 'test', action: 'Test', reason: 'Test', regarding: { kind: 'Node', name: 'n1' }, note: 'test', type: 'Normal' }) // prettier-ignore
  expect(Date.parse(metadata.creationTimestamp!) - Date.now()).toBeGreaterThan(3_000_000)
  await clocks.set('n1', -1)
  await expect.poll(async () => Date.now() - Date.parse((await lab.store.get(Node, { name: 'n1' })).status!.agent!.heartbeat), { timeout: 15_000 }).toBeGreaterThan(3_000_000) // prettier-ignore
})

it(
  'nodes stay ready while clocks jump by an hour, and one whose agent is gone does not',
  { timeout: 120_000 },
  async () => {
    const events = async (): Promise<number> => (await lab.store.list(Event, { fieldSelector: 'reason=NodeNotReady' })).items.length // prettier-ignore
    const before = await events()
    for (const hours of [1, -1, 0, -1, 1]) {
      await Promise.all(
        ['control', ...lab.nodes].map((machine, index) => clocks.set(machine, index % 2 ? hours : -hours)),
      )
      await sleep(1_500)
      expect(await ready()).toEqual({ n1: true, n2: true, n3: true })
    }
    expect(await events()).toBe(before)
    await lab.killAgent('n3')
    await clocks.set('control', -1)
    await expect.poll(ready, { timeout: 60_000, interval: 500 }).toEqual({ n1: true, n2: true, n3: false })
    await lab.startAgent('n3')
    await expect.poll(ready, { timeout: 30_000 }).toEqual({ n1: true, n2: true, n3: true })
  },
)

it('a storm with kills and clocks that jump leaks and doubles nothing', { timeout: 200_000 }, async () => {
  for (const name of ['s1', 's2']) await lab.dctl(['endpoint', 'create', name, '--network', 'blue'])
  const random = seededRandom()
  let isOver = false
  const jumping = (async () => {
    while (!isOver) {
      await clocks.set(random.pick(['control', ...lab.nodes]), random.pick([-1, 0, 1]))
      await sleep(random.below(200))
    }
  })()
  const storm = runStorm(lab, {
    operations: 800,
    kills: 20,
    driversPerNode: 3,
    wishes: [{ network: 'blue' }, { network: 'blue', perfTier: 'shaped' }],
    staticEndpoints: ['s1', 's2'],
  }).finally(() => (isOver = true))
  await Promise.all([storm, jumping])
  console.log(JSON.stringify(await storm))
  expect((await storm).added).toBeGreaterThan(100)
})
