import { afterAll, beforeAll, expect, it } from 'vitest'
import { attachmentFinalizer, Endpoint } from '../../../src/api/index.ts'
import { zeroCounters } from '../../../src/network/counters.ts'
import type { LiveEndpoint } from '../../../src/network/live-endpoint.ts'
import { Cluster } from './cluster.ts'

let cluster: Cluster
const uids: Record<string, string> = {}

beforeAll(async () => {
  cluster = await Cluster.start()
  await cluster.addNode('n1')
  await cluster.done('network create blue -s 10.30.0.0/24 -v 100')
  await cluster.done('perf-tier create gold -b 200M')
  for (const name of ['gold', 'noisy']) await attach(name)
})
afterAll(() => cluster[Symbol.asyncDispose]())

async function attach(name: string): Promise<void> {
  const { store } = cluster.control
  const reference = { name: `${name}-eth0`, namespace: 'default' }
  const pod = { namespace: 'default', name }
  const created = await store.create(Endpoint, {
    metadata: { ...reference, finalizers: [attachmentFinalizer] },
    spec: {
      networkName: 'blue',
      isStatic: false,
      nodeName: 'n1',
      holder: { containerId: `container-${name}`, interfaceName: 'eth0', pod },
      ...(name === 'gold' ? { perfTierName: 'gold' } : {}),
    },
  })
  uids[name] = created.metadata.uid!
  for (let tries = 0; !(await store.get(Endpoint, reference)).status?.allocation && tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const attachment = { nodeName: 'n1', containerId: `container-${name}`, hostInterface: 'cb1', since: '2026-01-01' }
  await store.patch(Endpoint, reference, { status: { attachment } }, { subresource: 'status' })
}

function live(name: string, change: Partial<LiveEndpoint>): LiveEndpoint {
  return {
    ...zeroCounters(uids[name]!),
    namespace: 'default',
    name: `${name}-eth0`,
    containerId: `container-${name}`,
    interfaceName: 'eth0',
    bandwidthFloor: name === 'gold' ? 200e6 : 0,
    isLinkUp: true,
    rates: { sent: 0, received: 0, delivered: 0, drops: {} },
    ...change,
  }
}

it('answers why an endpoint is slow: the last hour, the uplink, who competes, a verdict', async () => {
  cluster.live.uplink = { ...cluster.live.uplink, rate: 1e9, sent: 955_123_456, promised: 200e6 }
  cluster.live.endpoints = [
    live('gold', {
      rates: { sent: 205e6, received: 1e6, delivered: 205e6, drops: {} },
      lastHour: { withDemand: 1000, attained: 999, since: new Date(Date.now() - 1_800_000).toISOString() },
      lastSeconds: { withDemand: 10, attained: 10 },
      receive: {
        promised: 200e6,
        delivered: 1e6,
        windows: { withDemand: 60, attained: 45 },
        lastHour: { withDemand: 40, attained: 39, since: new Date(Date.now() - 1_800_000).toISOString() },
      },
    }),
    live('noisy', { rates: { sent: 750e6, received: 0, delivered: 750e6, drops: {} } }),
  ]
  const text = await cluster.done('endpoint describe gold')
  expect(text).toMatch(/Sending: +99\.9% \(1000 seconds with demand, 999/)
  expect(text).toMatch(/Receiving: +97\.5% \(40 seconds with demand, 39/)
  expect(text).toMatch(/Receive attainment: +75% \(45 of 60/)
  expect(await cluster.done('endpoint list -o wide')).toMatch(/ 205M +- +1M +75% +0$/m)
  expect(text).toMatch(/Known for: +30m/)
  expect(text).toMatch(/Sends: +955 Mbit\/s \(96%\)/)
  expect(text).toMatch(/default\/noisy-eth0 +- +nothing +750 Mbit\/s +0 bit\/s +yes/)
  expect(text).toContain(
    "Why is it slow?\n  the node's uplink is full (955 Mbit/s of 1 Gbit/s) and it gets its floor\n",
  )
  const noisy = await cluster.done('endpoint describe container-noisy')
  expect(noisy).toMatch(/default\/gold-eth0 +gold +200 Mbit\/s +205 Mbit\/s +1 Mbit\/s +yes/)
  expect(noisy).toContain('it has no floor: it gets what the others leave')
  const document = JSON.parse(await cluster.done('endpoint describe gold -o json')) as object
  expect(document).toMatchObject({
    endpoint: { kind: 'Endpoint' },
    live: { lastHour: { withDemand: 1000 } },
    uplink: { sent: 955_123_456 },
    competitors: [{ name: 'noisy-eth0', delivered: 750e6, isAboveFloor: true }],
    verdict: { code: 'UplinkFullWithFloor' },
  })
})

it('tells drops as they happen', async () => {
  cluster.live.endpoints = [
    live('gold', {
      drops: { ...zeroCounters('x').drops, 'spoofed-ip': 70 },
      rates: { sent: 1e6, received: 0, delivered: 1e6, drops: { 'spoofed-ip': 12 } },
    }),
  ]
  const text = await cluster.done('endpoint describe gold')
  expect(text).toMatch(/spoofed-ip: +70, 12 a second now/)
  expect(text).toContain('frames are being dropped as spoofed: spoofed-ip 12 a second')
})

it('names the receivers that are limited', async () => {
  const { status } = await cluster.control.store.get(Endpoint, { name: 'noisy-eth0', namespace: 'default' })
  const macAddress = (status!.allocation as { macAddress: string }).macAddress
  cluster.live.uplink = { ...cluster.live.uplink, sent: 1e6 }
  cluster.live.endpoints = [live('gold', { rates: { sent: 1e6, received: 0, delivered: 1e6, drops: {} } })]
  cluster.live.held = [{ macAddress, vlan: 100, receivingNode: 'n2', rate: 51_234_567 }]
  const text = await cluster.done('endpoint describe gold')
  expect(text).toMatch(/default\/noisy-eth0: +51\.2 Mbit\/s from this node, says node n2/)
  expect(text).toContain(
    'the receiver is limited, if it is one of these: node n2 takes 51.2 Mbit/s for default/noisy-eth0',
  )
  cluster.live.held = []
})

it('says so when the agent does not answer, and still shows the endpoint', async () => {
  await cluster.tellAgentAddress('n1', '127.0.0.1:1')
  const text = await cluster.done('endpoint describe gold')
  expect(text).toMatch(/Name: +gold-eth0/)
  expect(text).toContain('the agent of node n1 does not answer, so nothing is known')
  const document = JSON.parse(await cluster.done('endpoint describe gold -o json')) as object
  expect(document).toMatchObject({ live: null, verdict: { code: 'AgentSilent' } })
  await cluster.tellAgentAddress('n1', cluster.agent.address())
})
