import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  attachmentFinalizer,
  Drive,
  Endpoint,
  Event,
  Network,
  Node,
  PerfTier,
  Plex,
  Volume,
  VolumeAttachment,
} from '../../../src/api/index.ts'
import { silentLogger } from '../../../src/base/index.ts'
import { startControl, type Control } from '../../../src/control/control.ts'
import { features } from '../../../src/control/features.ts'
import { RestStore } from '../../../src/store/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../../support/control-files.ts'

let files: ControlFiles
let control: Control
/** Holds the token of the agent of n1, and does what it likes with it. */
let agent: RestStore

const inDefault = (name: string): { namespace: string; name: string } => ({ namespace: 'default', name })
const holder = (containerId: string): object => ({ containerId, interfaceName: 'eth0' })
const forbidden = expect.objectContaining({ code: 'Forbidden' })

function endpointOn(nodeName: string, name: string): Endpoint {
  return {
    metadata: { ...inDefault(name), finalizers: [attachmentFinalizer] },
    spec: { networkName: 'blue', isStatic: false, nodeName, holder: { containerId: name, interfaceName: 'eth0' } },
  }
}

beforeAll(async () => {
  files = await makeControlFiles()
  control = await startControl(files.config, { logger: silentLogger(), features })
  agent = new RestStore({ server: `unix://${files.folder}/control.sock`, token: testTokens.agent })
  const { store } = control
  const uplinks = { pods: { interface: 'eth0', rate: '10G' } }
  for (const name of ['n1', 'n2']) {
    await store.create(Node, { metadata: { name }, spec: { uplinks, maximumInterfaces: 63 } })
  }
  const subnets = [{ cidr: '10.30.0.0/24', ranges: [] }]
  await store.create(Network, { metadata: { name: 'blue' }, spec: { subnets, plane: 'pods', isDefault: false } })
  await store.create(Endpoint, endpointOn('n2', 'foreign'))
  for (const name of ['free', 'reserved']) {
    await store.create(Endpoint, { metadata: inDefault(name), spec: { networkName: 'blue', isStatic: true } })
  }
  const bound = { nodeName: 'n2', holder: holder('c9') }
  const metadata = { finalizers: [attachmentFinalizer] }
  await store.patch(Endpoint, inDefault('reserved'), { metadata, spec: bound })
})

afterAll(async () => {
  await agent.close()
  await control.stop()
  files[Symbol.dispose]()
})

test('an agent makes, reports, changes and removes what is on its own node', async () => {
  const created = await agent.create(Endpoint, endpointOn('n1', 'own'))
  await expect.poll(async () => (await agent.get(Endpoint, inDefault('own'))).status?.allocation).toBeDefined()
  const attachment = { nodeName: 'n1', containerId: 'own', hostInterface: 'cb1', since: '2026-01-01T00:00:00Z' }
  await agent.patch(Endpoint, inDefault('own'), { status: { attachment } }, { subresource: 'status' })
  await agent.delete(Endpoint, inDefault('own'), { uid: created.metadata.uid })
  await agent.patch(Endpoint, inDefault('own'), { metadata: { finalizers: [] } })
  await expect(agent.get(Endpoint, inDefault('own'))).rejects.toThrow(expect.objectContaining({ code: 'NotFound' }))
})

test('it binds a free static endpoint to its node and lets it go again', async () => {
  const take = { metadata: { finalizers: [attachmentFinalizer] }, spec: { nodeName: 'n1', holder: holder('c1') } }
  await agent.patch(Endpoint, inDefault('free'), take)
  await agent.patch(Endpoint, inDefault('free'), {
    metadata: { finalizers: [] },
    spec: { nodeName: null, holder: null },
  })
  expect((await agent.get(Endpoint, inDefault('free'))).spec.nodeName).toBeUndefined()
})

test('it cannot touch what is on another node', async () => {
  const foreign = inDefault('foreign')
  const before = await agent.get(Endpoint, foreign)
  const attachment = { nodeName: 'n2', containerId: 'x', hostInterface: 'y', since: '' }
  await expect(agent.create(Endpoint, endpointOn('n2', 'planted'))).rejects.toThrow(forbidden)
  await expect(agent.patch(Endpoint, foreign, { metadata: { finalizers: [] } })).rejects.toThrow(forbidden)
  await expect(agent.patch(Endpoint, foreign, { metadata: { labels: { a: 'b' } } })).rejects.toThrow(forbidden)
  await expect(agent.patch(Endpoint, foreign, { spec: { nodeName: 'n1' } })).rejects.toThrow(forbidden)
  await expect(agent.update(Endpoint, { ...before, spec: { ...before.spec, nodeName: 'n1' } })).rejects.toThrow(
    forbidden,
  )
  await expect(agent.patch(Endpoint, foreign, { status: { attachment } }, { subresource: 'status' })).rejects.toThrow(
    forbidden,
  )
  await expect(agent.updateStatus(Endpoint, { ...before, status: { attachment } })).rejects.toThrow(forbidden)
  await expect(agent.delete(Endpoint, foreign)).rejects.toThrow(forbidden)
  expect(await agent.get(Endpoint, foreign)).toEqual(before)
})

test('it cannot take a static endpoint that another node holds, nor make, delete or shift one', async () => {
  const reserved = inDefault('reserved')
  await expect(agent.patch(Endpoint, reserved, { spec: { nodeName: 'n1', holder: holder('c1') } })).rejects.toThrow(
    forbidden,
  )
  await expect(agent.patch(Endpoint, reserved, { spec: { nodeName: null, holder: null } })).rejects.toThrow(forbidden)
  await expect(agent.delete(Endpoint, inDefault('free'))).rejects.toThrow(forbidden)
  await expect(agent.patch(Endpoint, inDefault('free'), { metadata: { labels: { a: 'b' } } })).rejects.toThrow(
    forbidden,
  )
  await expect(
    agent.patch(Endpoint, inDefault('free'), {
      metadata: { finalizers: [attachmentFinalizer] },
      spec: { nodeName: 'n2', holder: holder('c1') },
    }),
  ).rejects.toThrow(forbidden)
  const fixed = { metadata: inDefault('fixed'), spec: { networkName: 'blue', isStatic: true } }
  await expect(agent.create(Endpoint, fixed)).rejects.toThrow(forbidden)
})

test('it cannot give itself addresses or a tier', async () => {
  await agent.create(Endpoint, endpointOn('n1', 'greedy'))
  await expect.poll(async () => (await agent.get(Endpoint, inDefault('greedy'))).status?.allocation).toBeDefined()
  const greedy = await agent.get(Endpoint, inDefault('greedy'))
  const allocation = { ...greedy.status!.allocation!, macAddress: '02:00:00:00:00:99' }
  await expect(
    agent.patch(Endpoint, inDefault('greedy'), { status: { allocation } }, { subresource: 'status' }),
  ).rejects.toThrow(forbidden)
  await expect(agent.updateStatus(Endpoint, { ...greedy, status: {} })).rejects.toThrow(forbidden)
  await expect(agent.patch(Endpoint, inDefault('greedy'), { spec: { perfTierName: 'high' } })).rejects.toThrow(
    forbidden,
  )
})

test('of nodes it reports its own, and nothing that control decides', async () => {
  const report = { heartbeat: new Date().toISOString(), address: '10.0.0.1:1', version: '1', linkRate: 1, mtu: 1500 }
  const status = { agent: { ...report, carrier: true, problems: [] } }
  const statusOf = (name: string, change: object): Promise<Node> =>
    agent.patch(Node, { name }, { status: change }, { subresource: 'status' })
  await statusOf('n1', status)
  await expect(statusOf('n2', status)).rejects.toThrow(forbidden)
  const bandwidth = { promised: 0, total: 1e12 }
  await expect(statusOf('n1', { capacity: { bandwidth, interfaces: bandwidth } })).rejects.toThrow(forbidden)
  await expect(statusOf('n1', { ready: { state: true, reason: 'x', message: '', since: '' } })).rejects.toThrow(
    forbidden,
  )
  await expect(agent.patch(Node, { name: 'n1' }, { spec: { maximumInterfaces: 4000 } })).rejects.toThrow(forbidden)
  await expect(agent.delete(Node, { name: 'n1' })).rejects.toThrow(forbidden)
  const spec = { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 1 }
  await expect(agent.create(Node, { metadata: { name: 'n3' }, spec })).rejects.toThrow(forbidden)
})

test('networks, tiers and tokens are not its business; events are', async () => {
  await expect(agent.delete(Network, { name: 'blue' })).rejects.toThrow(forbidden)
  await expect(agent.create(PerfTier, { metadata: { name: 'own' }, spec: {} })).rejects.toThrow(forbidden)
  await expect(agent.getJson('/apis/carbonado.io/v1alpha1/tokens')).rejects.toThrow(forbidden)
  await agent.create(Event, {
    metadata: inDefault('told'),
    eventTime: new Date().toISOString(),
    reportingController: 'carbonado.io/agent',
    reportingInstance: 'n1',
    action: 'Test',
    reason: 'Test',
    regarding: { kind: 'Node', name: 'n1' },
    note: 'told by the agent',
    type: 'Normal',
  })
})

test('of storage it writes what is on its own node, and decides nothing', async () => {
  const drive = (nodeName: string): Drive => ({
    metadata: { name: `${nodeName}.d` },
    spec: { nodeName, device: '/dev/d' },
  })
  await expect(agent.create(Drive, drive('n2'))).rejects.toThrow(forbidden)
  await agent.create(Drive, drive('n1'))
  const report = { agent: { state: 'Blank', size: 1, found: [] } }
  await agent.patch(Drive, { name: 'n1.d' }, { status: report }, { subresource: 'status' })
  const share = { promised: 0, total: 2 ** 40 }
  for (const [patch, options] of [
    [{ spec: { format: { requestId: 'mine' } } }, {}],
    [{ status: { capacity: { space: share, iops: share } } }, { subresource: 'status' }],
  ] as const) {
    await expect(agent.patch(Drive, { name: 'n1.d' }, patch, options)).rejects.toThrow(forbidden)
  }
  const volume = await control.store.create(Volume, { metadata: { name: 'v' }, spec: { size: '1Gi', mirrorCount: 1 } })
  await expect(agent.delete(Volume, { name: 'v' })).rejects.toThrow(forbidden)
  const volumeUid = volume.metadata.uid!
  const plex = { volumeName: 'v', volumeUid, nodeName: 'n1', driveName: 'n1.d', poolId: 'p', size: 1, iopsFloor: 0 }
  await expect(agent.create(Plex, { metadata: { name: 'v.p0' }, spec: { ...plex, snapshots: [] } })).rejects.toThrow(
    forbidden,
  )
  const spec = { volumeName: 'v', volumeUid, nodeName: 'n2', readOnly: false }
  await expect(agent.create(VolumeAttachment, { metadata: { name: 'v' }, spec })).rejects.toThrow(forbidden)
})
