import { afterEach, beforeEach, expect, it } from 'vitest'
import { Node, Plex, Snapshot, SnapshotGroup, Volume, VolumeAttachment } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { driveBytes, slowDelete, StorageFixture } from '../storage-fixture.ts'
import { controllerServices } from './controller-services.ts'
import { createVolume } from './volume-service.ts'

let fixture: StorageFixture
beforeEach(async () => {
  fixture = await StorageFixture.start('n1', 'n2')
})
afterEach(() => fixture[Symbol.asyncDispose]())

const defaults = {
  parameters: {},
  mutableParameters: {},
  secrets: {},
  volumeContentSource: null,
  accessibilityRequirements: null,
}
const capability = { accessType: 'block', mount: null, accessMode: { mode: 'SINGLE_NODE_WRITER' } }
const mebibyte = 2 ** 20
const onOne = { accessibilityRequirements: { requisite: [{ segments: { 'topology.carbonado.io/node': 'n1' } }], preferred: [] } } // prettier-ignore

async function call<T = Record<string, never>>(method: string, request: object): Promise<T> {
  const services = controllerServices({ store: fixture.store, logger: silentLogger(), patience: 5_000 })
  const run = services.map(({ methods }) => methods[method]).find((each) => each !== undefined)!
  return (await run(request as never)) as T
}

const create = (name: string, more: object = {}): Promise<{ volume: { volumeId: string; capacityBytes: number } }> =>
  call('CreateVolume', {
    ...defaults,
    name,
    capacityRange: { requiredBytes: 4 * mebibyte, limitBytes: 0 },
    volumeCapabilities: [capability],
    ...more,
  })

const publish = (volumeId: string, nodeId: string): Promise<unknown> =>
  call('ControllerPublishVolume', { volumeId, nodeId, volumeCapability: capability, readonly: false })

it('makes a volume once, whatever its name, and deletes it as often as it is asked', async () => {
  const made = await Promise.all(['Some Name', 'Some Name', 'some-name'].map((name) => create(name)))
  const ids = made.map(({ volume }) => volume.volumeId)
  expect(ids[0]).toBe(ids[1])
  expect(new Set(ids).size).toBe(2)
  await expect(
    create('Some Name', { capacityRange: { requiredBytes: 8 * mebibyte, limitBytes: 0 } }),
  ).rejects.toMatchObject({
    csiCode: 'ALREADY_EXISTS',
  })
  for (const volumeId of [...ids, 'never-was']) expect(await call('DeleteVolume', { volumeId })).toEqual({})
  expect((await fixture.store.list(Volume)).items).toEqual([])
})

it('does not give away a volume that somebody else has made', async () => {
  await fixture.createVolume('mine')
  await expect(create('mine')).rejects.toMatchObject({ csiCode: 'ALREADY_EXISTS' })
})

it('leaves nothing of a volume that fits nowhere', async () => {
  const capacityRange = { requiredBytes: 2 * driveBytes, limitBytes: 0 }
  await expect(create('large', { capacityRange })).rejects.toMatchObject({ code: 'Exhausted' })
  await expect.poll(async () => (await fixture.store.list(Volume)).items).toEqual([])
})

it('takes the first preferred node that has room', async () => {
  const node = (name: string): object => ({ segments: { 'topology.carbonado.io/node': name } })
  const both = [node('n1'), node('n2')]
  const nodeOf = async (name: string, preferred: object[]): Promise<string> => {
    await create(name, { accessibilityRequirements: { requisite: both, preferred } })
    return (await fixture.store.get(Plex, { name: `${name}.p0` })).spec.nodeName
  }
  expect(await nodeOf('a', [node('n2'), node('n1')])).toBe('n2')
  expect(await nodeOf('b', [node('n1'), node('n2')])).toBe('n1')
  expect(await nodeOf('c', [node('n1'), node('n2')])).toBe('n1') // though more is left on n2
})

it('gives a volume to one node', async () => {
  await create('v1', onOne)
  await publish('v1', 'n1')
  await publish('v1', 'n1')
  await expect(publish('v1', 'n2')).rejects.toMatchObject({ csiCode: 'FAILED_PRECONDITION' })
  await expect(call('DeleteVolume', { volumeId: 'v1' })).rejects.toMatchObject({ csiCode: 'FAILED_PRECONDITION' })
  await call('ControllerUnpublishVolume', { volumeId: 'v1', nodeId: 'n2' }) // not its user
  expect((await fixture.store.list(VolumeAttachment)).items).toHaveLength(1)
  await call('ControllerUnpublishVolume', { volumeId: 'v1', nodeId: 'n1' })
  expect((await fixture.store.list(VolumeAttachment)).items).toEqual([])
})

it('gives a node no more volumes than the administrator lets it have', async () => {
  await fixture.store.patch(Node, { name: 'n1' }, { spec: { maximumVolumes: 2 } })
  for (const name of ['v1', 'v2', 'v3']) await create(name, onOne)
  for (const name of ['v1', 'v2']) await publish(name, 'n1')
  await expect(publish('v3', 'n1')).rejects.toMatchObject({
    csiCode: 'RESOURCE_EXHAUSTED',
    message: 'node n1 uses 2 volumes, the most it can',
  })
  await publish('v2', 'n1') // has it already
  await call('ControllerUnpublishVolume', { volumeId: 'v1', nodeId: 'n1' })
  await publish('v3', 'n1')
})

it('gives no node more volumes than it can use', async () => {
  await using many = new StorageFixture(() => {}) // attachments without volumes
  const { store } = many
  await store.create(Node, {
    metadata: { name: 'n1' },
    spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 1 },
  })
  await many.createVolume('v1')
  for (let number = 0; number < 256; number += 1) {
    const name = `other${number}`
    await store.create(VolumeAttachment, { metadata: { name }, spec: { volumeName: name, volumeUid: name, nodeName: 'n1', readOnly: false } }) // prettier-ignore
  }
  const request = { volumeId: 'v1', nodeId: 'n1', volumeCapability: capability, readonly: false }
  const [controller] = controllerServices({ store, logger: silentLogger() })
  const publishing = controller!.methods.ControllerPublishVolume!(request as never) as Promise<unknown>
  await expect(publishing).rejects.toMatchObject({ csiCode: 'RESOURCE_EXHAUSTED' })
})

it('takes snapshots of a group at one instant, and deletes them together', async () => {
  await Promise.all([create('a', onOne), create('b', onOne)])
  const request = { name: 'Group 1', sourceVolumeIds: ['a', 'b'], parameters: {} }
  interface Answer {
    groupSnapshot: { groupSnapshotId: string; readyToUse: boolean; snapshots: { sourceVolumeId: string }[] }
  }
  const { groupSnapshot } = await call<Answer>('CreateVolumeGroupSnapshot', request)
  expect(groupSnapshot.readyToUse).toBe(true)
  expect(groupSnapshot.snapshots.map(({ sourceVolumeId }) => sourceVolumeId).sort()).toEqual(['a', 'b'])
  expect((await call<Answer>('CreateVolumeGroupSnapshot', request)).groupSnapshot).toEqual(groupSnapshot)
  const { groupSnapshotId } = groupSnapshot
  await call('DeleteVolumeGroupSnapshot', { groupSnapshotId, snapshotIds: [] })
  expect((await fixture.store.list(SnapshotGroup)).items).toEqual([])
  expect((await fixture.store.list(Snapshot)).items).toEqual([])
})

it('does not take back a volume that has room meanwhile', async () => {
  await fixture.availableVolume('other', { size: '40Mi', nodeNames: ['n1'] })
  const slow = slowDelete(fixture.store)
  const asked = { ...onOne, capacityRange: { requiredBytes: 50 * mebibyte, limitBytes: 0 } }
  const request = { ...defaults, name: 'v1', volumeCapabilities: [capability], ...asked }
  const first = createVolume({ store: slow.store, logger: silentLogger(), patience: 5_000 }, request as never)
  await slow.begun
  await fixture.deleted(Volume, 'other')
  await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
  const second = await create('v1', asked)
  slow.release()
  expect(await first).toEqual(second)
  expect((await fixture.store.get(Volume, { name: 'v1' })).metadata.deletionTimestamp).toBeUndefined()
})

it('does not take back a volume with data whose drive is missing and that was refused a change', async () => {
  await create('v1', onOne)
  const { metadata } = await fixture.store.get(Volume, { name: 'v1' })
  await fixture.store.patch(Volume, metadata, { spec: { size: 2 * driveBytes } })
  await fixture.volumeWhen('v1', ({ status }) => status?.code === 'Exhausted')
  const node = fixture.nodes.get('n1')!
  node.isUnplugged = true
  await fixture.restartAgent('n1')
  await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Pending' && status.code !== undefined)
  const capacityRange = { requiredBytes: 2 * driveBytes, limitBytes: 0 }
  const again = { ...defaults, ...onOne, name: 'v1', volumeCapabilities: [capability], capacityRange }
  const creating = createVolume({ store: fixture.store, logger: silentLogger(), patience: 200 }, again as never)
  await expect(creating).rejects.toMatchObject({ csiCode: 'ABORTED' })
  expect((await fixture.store.get(Volume, { name: 'v1' })).metadata.deletionTimestamp).toBeUndefined()
})
