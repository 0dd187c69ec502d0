import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { liveEndpoints, liveOf, listen, measure, send, stop } from '../../lab/demo/traffic.ts'
import { Lab, takeLabDown, type Container } from '../../lab/index.ts'
import type { LiveNode } from '../../src/network/live-endpoint.ts'

const rate = 200e6
const floor = 120e6
/** Payload of TCP in a floor, and a little for the beginning of a transfer. */
const enough = floor * 0.955 * 0.95

let lab: Lab
let gold: Container
let sink: Container
let source: Container
let floods: Container[]

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 3, rate })
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-v', '100'])
  await lab.dctl(['perf-tier', 'create', 'gold', '-b', '120M'])
  const start = (node: string, name: string, perfTier?: string): Promise<Container> =>
    lab.startContainer({ node, name, network: 'blue', ...(perfTier === undefined ? {} : { perfTier }) })
  ;[gold, sink, source, ...floods] = await Promise.all([
    start('n1', 'gold', 'gold'),
    start('n1', 'sink'),
    start('n2', 'source'),
    start('n2', 'flood2'),
    start('n3', 'flood3'),
    start('n1', 'flood1'),
  ])
  await Promise.all([listen(gold, [5201, 5202]), listen(sink, [5211, 5212, 5213, 5214])])
})
afterEach(async () => {
  await Promise.all([...floods, sink].map((container) => stop(container).catch(() => {}))) // there may be none
  await Promise.all(lab.nodes.map((node) => lab.startAgent(node)))
  await listen(sink, [5211, 5212, 5213, 5214]) // a server that lost its client in a flood would still wait for it
})
afterAll(() => lab.down())

/** Receivers that a node is held back from, as its agent knows. */
async function heldBy(node: string): Promise<LiveNode['held']> {
  return (await lab.store.getJson<LiveNode>(`/apis/carbonado.io/v1alpha1/nodes/${node}/proxy/v1/endpoints`)).held
}

const udp = ['-u', '-b', '250M', '-l', '1400']
const startFloods = async (): Promise<void> => {
  send(floods[0]!, sink, 5211, '-P', '4')
  send(floods[0]!, sink, 5212, ...udp)
  await sleep(300)
  send(floods[1]!, sink, 5213, ...udp)
  await sleep(1500)
}

test('a gold receiver has its floor against floods from two nodes, and limits are lifted when they end', async () => {
  await startFloods()
  expect(await heldBy('n2')).toMatchObject([{ receivingNode: 'n1', macAddress: expect.any(String) }])
  expect(await measure(source, gold, 5201, 3)).toBeGreaterThan(enough)
  const { receive } = await liveOf(lab, gold)
  expect(receive).toMatchObject({ promised: floor })
  expect(receive!.windows.withDemand).toBeGreaterThanOrEqual(2)
  expect(receive!.windows.attained).toBeGreaterThanOrEqual(receive!.windows.withDemand - 1)
  await Promise.all(floods.slice(0, 2).map(stop))
  await sleep(1500)
  expect([await heldBy('n2'), await heldBy('n3')]).toEqual([[], []])
}, 60_000)

test('limits hold while the agent of a sending node is dead, and end by themselves when that of the receiving one is', async () => {
  await startFloods()
  const transfer = measure(source, gold, 5201, 3)
  await sleep(1500)
  await lab.killAgent('n3')
  expect(await transfer).toBeGreaterThan(enough)
  await lab.startAgent('n3')
  await sleep(1500)
  await lab.killAgent('n1')
  expect((await heldBy('n3')).length).toBeGreaterThan(0)
  await sleep(2000)
  expect((await heldBy('n3')).length, 'long enough for a restart').toBeGreaterThan(0)
  await expect.poll(() => heldBy('n3'), { timeout: 12_000, interval: 500 }).toEqual([])
  await lab.startAgent('n1')
  await expect.poll(async () => (await heldBy('n3')).length, { timeout: 5_000 }).toBeGreaterThan(0)
}, 60_000)

test('what endpoints of one node send to each other stays within the rate of its link, floors first', async () => {
  send(floods[2]!, sink, 5214, '-u', '-b', '2G', '-l', '1400')
  await sleep(1500)
  const alone = (await liveEndpoints(lab, 'n1')).reduce((sum, { rates }) => sum + rates.received, 0)
  expect(alone).toBeLessThan(rate)
  expect(alone).toBeGreaterThan(rate * 0.8)
  expect(await measure(source, gold, 5202, 2)).toBeGreaterThan(enough)
}, 60_000)

test('a flood from outside, which cannot be held back, is told', async () => {
  const host = await lab.addHost({ name: 'outside', vlan: 100, address: '10.30.0.250/24' })
  await listen(sink, [5215])
  const flood = host.exec(['iperf3', '-c', sink.address, '-p', '5215', '-t', '8', '-u', '-b', '190M', '-l', '1400'])
  flood.catch(() => {}) // its report may be lost in its own flood
  const problems = async (): Promise<object> => lab.store.getJson('/apis/carbonado.io/v1alpha1/nodes/n1/proxy/v1/check')
  const told = { reason: 'OutsideTrafficAboveFloors', message: expect.stringContaining('from outside'), remedy: expect.any(String) } // prettier-ignore
  await expect.poll(problems, { timeout: 8_000, interval: 300 }).toEqual({ problems: expect.arrayContaining([told]) })
  await flood.catch(() => {})
}, 60_000)
