import { afterEach, expect, it, vi } from 'vitest'
import { Drive, Event, Node, Plex, Snapshot, SnapshotGroup, Volume, VolumeAttachment } from '../api/index.ts'
import { setTimeout as pause } from 'node:timers/promises'
import { NotFound, silentLogger } from '../base/index.ts'
import { StorageAgent } from './agent/index.ts'
import { FakePool, FakePoolFormat } from './fake-pool.ts'
import { forceAnnotation } from './force-annotation.ts'
import { driveBytes, eventually, StorageFixture } from './storage-fixture.ts'

let fixture: StorageFixture
afterEach(() => fixture[Symbol.asyncDispose]())

it('makes a volume on a drive, says what is promised, and takes all of it away', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.createTier('gold', 5_000)
  const volume = await fixture.availableVolume('v1', { perfTierName: 'gold' })
  expect(volume.status).toMatchObject({
    phase: 'Available',
    size: 8 * 2 ** 20,
    perfTierName: 'gold',
    iopsFloor: 5_000,
    plexes: [{ name: 'v1.p0', nodeName: 'n1', driveName: 'n1.drive0' }],
    inSync: ['v1.p0'],
  })
  await eventually(async () => {
    const { status } = await fixture.store.get(Node, { name: 'n1' })
    return status?.capacity?.iops?.promised === 5_000 && status.capacity.space?.promised === 8 * 2 ** 20
      ? true
      : undefined
  }, 'the capacity of the node')
  await fixture.deleted(Volume, 'v1')
  expect(await fixture.pool('n1').list()).toEqual([])
  expect((await fixture.store.list(Plex)).items).toEqual([])
  await eventually(async () => {
    const { status } = await fixture.store.get(Drive, { name: 'n1.drive0' })
    return status?.capacity?.space.promised === 0 && status.capacity.iops.promised === 0 ? true : undefined
  }, 'the promise to be given back')
})

it('takes snapshots, clones and restores them, and deletes in any order', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.availableVolume('v1')
  const pool = fixture.pool('n1')
  const uid = await fixture.plexUid('v1')
  pool.write(uid, 0, 'before')
  const s1 = await fixture.snapshot('s1', 'v1')
  expect(s1.status).toMatchObject({ phase: 'Ready', size: 8 * 2 ** 20, nodeNames: ['n1'] })
  pool.write(uid, 0, 'after')
  await fixture.availableVolume('v2', { source: { snapshotName: 's1' } })
  expect(pool.read(await fixture.plexUid('v2'), 0)).toBe('before')
  await fixture.availableVolume('v3', { source: { volumeName: 'v1' } })
  expect(pool.read(await fixture.plexUid('v3'), 0)).toBe('after')
  await expect(fixture.store.delete(Volume, { name: 'v1' })).rejects.toThrow('volume v1 is in use by 1 snapshot: s1')
  await fixture.store.patch(Volume, { name: 'v1' }, { spec: { restore: { snapshotName: 's1', requestId: 'r1' } } })
  await fixture.volumeWhen('v1', ({ status }) => status?.restoredRequestId === 'r1')
  expect(pool.read(uid, 0)).toBe('before')
  await fixture.deleted(Snapshot, 's1')
  for (const name of ['v1', 'v2', 'v3']) await fixture.deleted(Volume, name)
  expect(await pool.list()).toEqual([])
})

it('grows under use, changes its tier, and stays as it was where that does not fit', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.createTier('gold', 30_000)
  await fixture.createTier('silver', 20_000)
  await fixture.availableVolume('v1', { perfTierName: 'silver' })
  await fixture.availableVolume('v2', { perfTierName: 'silver' })
  await fixture.store.patch(Volume, { name: 'v1' }, { spec: { size: '16Mi' } })
  await fixture.volumeWhen('v1', ({ status }) => status?.size === 16 * 2 ** 20)
  await fixture.store.patch(Volume, { name: 'v1' }, { spec: { perfTierName: 'gold' } })
  const refused = await fixture.volumeWhen('v1', ({ status }) => status?.code === 'Exhausted')
  expect(refused.status).toMatchObject({ phase: 'Available', perfTierName: 'silver', iopsFloor: 20_000 })
  expect(refused.status!.message).toBe(
    'volume v1 stays as it was: it needs 30000 IOPS, drive n1.drive0 has 25000 IOPS of 45000 IOPS left (IOPS that can be promised)',
  )
  await fixture.deleted(Volume, 'v2')
  const changed = await fixture.volumeWhen('v1', ({ status }) => status?.perfTierName === 'gold')
  expect(changed.status?.code).toBeUndefined()
  await expect(fixture.store.patch(Volume, { name: 'v1' }, { spec: { size: '8Mi' } })).rejects.toThrow('cannot shrink')
  await fixture.store.patch(Volume, { name: 'v1' }, { spec: { size: '1Ti' } })
  await fixture.volumeWhen('v1', ({ status }) => status?.code === 'Exhausted')
  await fixture.store.patch(Volume, { name: 'v1' }, { spec: { size: '16Mi' } })
  await fixture.volumeWhen('v1', ({ status }) => status?.code === undefined)
})

it('waits for room, and is placed when there is some', async () => {
  fixture = await StorageFixture.start('n1', 'n2')
  await fixture.availableVolume('big', { size: '50Mi', nodeNames: ['n1'] })
  await fixture.createVolume('v1', { size: '20Mi', nodeNames: ['n1'] })
  const waiting = await fixture.volumeWhen('v1', ({ status }) => status?.code !== undefined)
  expect(waiting.status?.phase).toBe('Pending')
  expect(waiting.status?.message).toBe(
    'volume v1 fits nowhere: n1: needs 20 MiB, drive n1.drive0 has 10.8 MiB of 60.8 MiB left ' +
      '(space that can be promised); n2: not among the nodes asked for (n1)',
  )
  await fixture.deleted(Volume, 'big')
  await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
})

it('reserves what a volume may write anew after a snapshot, and refuses one that has no room for that', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.createTier('gold', 100)
  await fixture.availableVolume('v1', { size: '25Mi', perfTierName: 'gold' })
  const pool = fixture.pool('n1')
  const uid = await fixture.plexUid('v1')
  const fill = (text: string): void => {
    for (let block = 0; block < 25 * 16; block += 1) pool.write(uid, block, text)
  }
  fill('one')
  expect((await fixture.snapshot('s1', 'v1')).status?.phase).toBe('Ready')
  fill('two')
  const refused = await fixture.snapshot('s2', 'v1')
  expect(refused.status).toMatchObject({ phase: 'Failed', code: 'Exhausted' })
  expect(refused.status!.message).toContain('with what volume v1 may then write anew it needs 50 MiB')
  fill('three') // what was promised is there
  await fixture.deleted(Snapshot, 's1')
  await eventually(async () => {
    const { status } = await fixture.store.get(Drive, { name: 'n1.drive0' })
    return status?.agent?.pool?.held === 0 ? true : undefined
  })
  await fixture.deleted(Snapshot, 's2')
  expect((await fixture.snapshot('s3', 'v1')).status?.phase).toBe('Ready')
})

it('snapshots several volumes at one instant, all or none', async () => {
  fixture = await StorageFixture.start('n1', 'n2')
  for (const name of ['a', 'b']) await fixture.availableVolume(name, { nodeNames: ['n1'] })
  await fixture.availableVolume('c', { nodeNames: ['n2'] })
  const group = (name: string, ...volumeNames: string[]): Promise<SnapshotGroup> =>
    fixture.store.create(SnapshotGroup, { metadata: { name }, spec: { volumeNames } })
  await expect(group('g0', 'a', 'c')).rejects.toThrow('one instant can only be had on one drive')
  const frozen = { volumeNames: ['a', 'b'], quiesce: true }
  const refused = fixture.store.create(SnapshotGroup, { metadata: { name: 'g2' }, spec: frozen })
  await expect(refused).rejects.toThrow('volume a is a raw block device, which has no filesystem to freeze')
  await group('g1', 'a', 'b')
  const ready = await eventually(async () => {
    const found = await fixture.store.get(SnapshotGroup, { name: 'g1' })
    return found.status?.phase === 'Ready' ? found : undefined
  }, 'the group')
  expect(ready.status).toMatchObject({ snapshotNames: ['g1.a', 'g1.b'] })
  const [first, second] = (await fixture.store.list(Snapshot)).items
  expect(first!.status!.takenAt).toBe(second!.status!.takenAt)
  await fixture.store.delete(SnapshotGroup, { name: 'g1' })
  await eventually(async () => ((await fixture.store.list(SnapshotGroup)).items.length === 0 ? true : undefined))
  expect((await fixture.store.list(Snapshot)).items).toEqual([])
  expect((await fixture.pool('n1').list()).filter(({ kind }) => kind === 'snapshot')).toEqual([])
})

it('gives the device of a volume to one node, and deletes the volume only when it has it back', async () => {
  fixture = await StorageFixture.start('n1', 'n2')
  const volume = await fixture.availableVolume('v1', { nodeNames: ['n1'] })
  const uid = await fixture.plexUid('v1')
  const { agent } = fixture.nodes.get('n1')!
  const { attacher } = agent
  expect(agent.guardedVolumes()).toEqual([]) // without a device there is nothing to keep a floor of
  expect(await attacher.attach('v1')).toBe(`/fake/${uid}`)
  expect(agent.guardedVolumes()).toEqual([
    { id: uid, name: 'v1', driveName: 'n1.drive0', devicePath: `/fake/${uid}`, floor: 0, consumers: [] },
  ])
  expect(await attacher.attach('v1')).toBe(`/fake/${uid}`)
  const elsewhere = fixture.nodes.get('n2')!.agent.attacher
  await expect(elsewhere.attach('v1')).rejects.toThrow('volume v1 is attached to node n1')
  await expect(
    fixture.store.patch(Volume, { name: 'v1' }, { spec: { restore: { snapshotName: 's', requestId: 'r' } } }),
  ).rejects.toThrow('is attached to node n1 and cannot be restored now')
  await fixture.store.delete(Volume, { name: 'v1' }, { uid: volume.metadata.uid })
  const releasing = await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Releasing')
  expect(releasing.status?.message).toContain('waiting for node n1 to detach it')
  expect(fixture.pool('n1').read(uid, 0)).toBeUndefined()
  await attacher.detach('v1')
  await eventually(async () => ((await fixture.store.list(Volume)).items.length === 0 ? true : undefined))
  expect((await fixture.store.list(VolumeAttachment)).items).toEqual([])
  expect(agent.guardedVolumes()).toEqual([])
  expect(await fixture.pool('n1').active()).toEqual([])
})

it('keeps a device over a restart of the agent, and says so when the drive is missing', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.availableVolume('v1')
  const node = fixture.nodes.get('n1')!
  await node.agent.attacher.attach('v1')
  await fixture.restartAgent('n1')
  expect(await node.agent.attacher.attach('v1')).toContain('/fake/')
  await node.agent.stop()
  node.isUnplugged = true
  node.agent = fixture.startAgent(node)
  const pending = await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Pending')
  expect(pending.status?.message).toBe('drive n1.drive0 is Missing: there is no /dev/n1/drive0')
  expect(pending.status?.inSync).toEqual([])
  node.isUnplugged = false
  await fixture.restartAgent('n1')
  await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
})

it('never makes an empty volume where data was lost, and never deletes what no object tells of', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.availableVolume('v1')
  await fixture.availableVolume('v2')
  const { drive } = fixture.nodes.get('n1')!
  drive.pool!.entries.delete(await fixture.plexUid('v1'))
  await fixture.store.patch(Plex, { name: 'v2.p0' }, { metadata: { finalizers: null } })
  await fixture.store.delete(Plex, { name: 'v2.p0' })
  await fixture.restartAgent('n1')
  const lost = await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Pending')
  expect(lost.status?.message).toBe('its data is not in the pool any more')
  const { items } = await eventually(async () => {
    const events = await fixture.store.list(Event, { fieldSelector: 'reason=LeftOnDrive' })
    return events.items.length > 0 ? events : undefined
  })
  expect(items[0]!.note).toContain('without an object')
})

it('formats a drive once for each request, and only with force what is used already', async () => {
  fixture = await StorageFixture.start('n1')
  const { drive } = fixture.nodes.get('n1')!
  const { id } = drive.pool!
  await fixture.restartAgent('n1')
  await fixture.availableVolume('v1')
  expect(drive.pool!.id).toBe(id)
  const request = (requestId: string, force?: boolean): Promise<Drive> =>
    fixture.store.patch(Drive, { name: 'n1.drive0' }, { spec: { format: { requestId, ...(force ? { force } : {}) } } })
  await expect(request('again', true)).rejects.toThrow('drive n1.drive0 is in use by 1 volume: v1')
  await fixture.deleted(Volume, 'v1')
  await request('again')
  const refused = await eventually(async () => {
    const { status } = await fixture.store.get(Drive, { name: 'n1.drive0' })
    return status?.agent?.refused?.requestId === 'again' ? status.agent : undefined
  })
  expect(refused.refused!.message).toContain('there is data on it: the pool')
  expect(refused.state).toBe('Ready')
  await request('once more', true)
  await eventually(() => (drive.pool!.id !== id ? true : undefined))
})

it('opens neither of two pools with the same id, and the one that is left when the other is unplugged', async () => {
  fixture = await StorageFixture.start('n1')
  const { drive, agent } = fixture.nodes.get('n1')!
  await agent.stop()
  const plugged = new Set(['/dev/n1/drive0', '/dev/n1/drive1'])
  const drives = new Map([
    ['/dev/n1/drive0', drive],
    ['/dev/n1/drive1', structuredClone(drive)],
  ])
  const start = (): StorageAgent => {
    const twins = new StorageAgent({
      nodeName: 'n1',
      store: fixture.store,
      formats: [new FakePoolFormat(drives)],
      devices: () => Promise.resolve([...plugged]),
      inspect: (device) =>
        plugged.has(device)
          ? Promise.resolve({ device, node: device, size: 1, found: [] })
          : Promise.reject(new NotFound(`there is no ${device}`)),
      fetchBlocks: () => Promise.reject(new NotFound('nothing to copy')),
      publishFolder: fixture.folderOf('twins'),
      logger: silentLogger(),
    })
    twins.start()
    return twins
  }
  const states = async (): Promise<string> =>
    (await fixture.store.list(Drive)).items.map(({ status }) => status?.agent?.state).join(' ')
  const before = start()
  await eventually(async () => ((await states()) === 'Ready Failed' ? true : undefined), 'the copy to be refused')
  await before.stop()
  const first = start()
  await eventually(async () => ((await states()) === 'Failed Failed' ? true : undefined), 'both to be refused')
  const { items } = await fixture.store.list(Event, { fieldSelector: 'reason=PoolTwice' })
  expect(items[0]!.note).toMatch(/same id as drive n1\.drive[01]: one is a copy of the other/)
  await first.stop()
  plugged.delete('/dev/n1/drive1')
  fixture.nodes.get('n1')!.agent = start()
  await eventually(async () => ((await states()) === 'Ready Missing' ? true : undefined), 'the other to be opened')
})

it('places nothing on a drive whose pool cannot be read, says so, and lets go of the pool to open it anew', async () => {
  fixture = await StorageFixture.start('n1')
  const broken = vi.spyOn(FakePool.prototype, 'space').mockRejectedValue(new Error('EIO: i/o error, statfs'))
  try {
    await fixture.restartAgent('n1')
    const closed = vi.spyOn(FakePool.prototype, 'close')
    const failed = await eventually(async () => {
      const { status } = await fixture.store.get(Drive, { name: 'n1.drive0' })
      return status?.agent?.state === 'Failed' ? status.agent : undefined
    })
    expect(failed.message).toBe('its pool cannot be read: EIO: i/o error, statfs')
    await fixture.createVolume('v1')
    const waiting = await fixture.volumeWhen('v1', ({ status }) => status?.code === 'Exhausted')
    expect(waiting.status?.message).toContain('drive n1.drive0 is Failed: its pool cannot be read')
    expect(closed).toHaveBeenCalled()
  } finally {
    broken.mockRestore()
  }
  await fixture.restartAgent('n1')
  await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
})

it('tells when a pool is 80 and when it is 90 % full, once each', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.availableVolume('v1', { size: '60Mi' })
  const uid = await fixture.plexUid('v1')
  const fill = async (from: number, to: number): Promise<number> => {
    for (let block = from; block < to; block += 1) fixture.pool('n1').write(uid, block, 'x')
    await fixture.restartAgent('n1') // which measures
    await pause(100)
    return (await fixture.store.list(Event, { fieldSelector: 'reason=PoolFilling' })).items.length
  }
  expect(await fill(0, 700)).toBe(0)
  expect(await fill(700, 850)).toBe(1)
  expect(await fill(850, 860)).toBe(1)
  expect(await fill(860, 940)).toBe(2)
})

it('is released by force when its node does not come back; what lies there is left over', async () => {
  fixture = await StorageFixture.start('n1')
  await fixture.availableVolume('v1')
  const node = fixture.nodes.get('n1')!
  await node.agent.stop()
  await fixture.setReady('n1', false)
  await fixture.store.patch(Volume, { name: 'v1' }, { metadata: { annotations: { [forceAnnotation]: 'true' } } })
  await fixture.deleted(Volume, 'v1')
  node.agent = fixture.startAgent(node)
  const found = await eventually(async () => {
    const { status } = await fixture.store.get(Drive, { name: 'n1.drive0' })
    return status?.agent?.found.length ? status.agent.found : undefined
  })
  expect(found[0]).toMatch(/^a volume of \d+ bytes without an object/)
  expect(driveBytes).toBeGreaterThan(0)
})
