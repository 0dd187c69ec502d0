import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Drive, Plex, plexFinalizer } from '../api/index.ts'
import { driveBytes, eventually, StorageFixture, type FixtureNode } from './storage-fixture.ts'

const name = 'n1.drive0'
type Report = NonNullable<NonNullable<Drive['status']>['agent']>

let fixture: StorageFixture
let node: FixtureNode
beforeEach(async () => {
  fixture = await StorageFixture.start('n1')
  node = fixture.nodes.get('n1')!
})
afterEach(() => fixture[Symbol.asyncDispose]())

/** What the agent says of the drive, once it says so. */
const reportWhen = (holds: (report: Report) => boolean): Promise<Report> =>
  eventually(async () => {
    const report = (await fixture.store.get(Drive, { name })).status!.agent!
    return holds(report) ? report : undefined
  }, 'a report of the drive')

describe('a format that was begun before a crash', () => {
  /** Asks for a format, and says what the agent says before the first byte; then the agent is gone. */
  async function begin(force = false): Promise<void> {
    await node.agent.stop()
    await fixture.store.patch(Drive, { name }, { spec: { format: { requestId: 'begun', force } } })
    const told = {
      size: driveBytes,
      serial: 'A',
      found: [],
      state: 'Formatting',
      requestId: 'begun',
      calibration: null,
    }
    await fixture.store.patch(Drive, { name }, { status: { agent: told } }, { subresource: 'status' })
  }

  /** The drive has a pool with an entry, of which the request knows nothing. */
  function putPrecious(): void {
    const entry = { id: 'precious', kind: 'volume' as const, size: 2 ** 20, blocks: new Map() }
    node.drive.pool = { id: 'of others', entries: new Map([['precious', entry]]) }
  }

  it.each([{ serial: 'B' }, { serial: 'A', size: 1 }, { serial: 'A', model: 'M' }, {}])(
    'goes on over nothing where the device is another disk with data: %j',
    async (facts) => {
      await begin(true)
      putPrecious()
      node.facts = { ...facts, found: ['LVM2_member'] }
      await fixture.restartAgent('n1')
      const { refused } = await reportWhen((report) => report.refused?.requestId === 'begun')
      expect(refused!.message).toContain('there is data on it: LVM2_member')
      await reportWhen(({ state, pool }) => state === 'Ready' && pool?.id === 'of others')
      expect([...node.drive.pool!.entries.keys()]).toEqual(['precious'])
    },
  )

  it('begins anew where the device is another disk that is blank', async () => {
    await begin()
    delete node.drive.pool
    node.facts = { serial: 'B' }
    await fixture.restartAgent('n1')
    await reportWhen(
      ({ state, serial, calibration }) => state === 'Ready' && serial === 'B' && calibration !== undefined,
    )
  })

  it('goes on over what it left half-made, though that holds the device', async () => {
    await begin()
    putPrecious()
    node.facts = { serial: 'A', found: ['LVM2_member'], inUse: 'the device is held by another part of the system' }
    await fixture.restartAgent('n1')
    await reportWhen(({ state, calibration }) => state === 'Ready' && calibration !== undefined)
    expect(node.drive.pool!.id).not.toBe('of others')
  })

  it('is refused where the device was mounted meanwhile', async () => {
    await begin(true)
    putPrecious()
    node.facts = { serial: 'A', found: ['ext4'], inUse: 'the device is mounted at /mnt', isMounted: true }
    await fixture.restartAgent('n1')
    const { refused } = await reportWhen((report) => report.refused !== undefined)
    expect(refused!.message).toContain('mounted at /mnt; a drive that is in use is never formatted')
    expect(node.drive.pool!.id).toBe('of others')
  })

  it('waits for a device that comes late, and is calibrated then', async () => {
    await begin()
    delete node.drive.pool
    node.isUnplugged = true
    await fixture.restartAgent('n1')
    const late = await reportWhen(({ message }) => message?.startsWith('there is no /dev/n1/drive0') ?? false)
    expect(late).toMatchObject({ state: 'Formatting', requestId: 'begun', serial: 'A' })
    node.isUnplugged = false
    node.facts = { serial: 'A' }
    await fixture.restartAgent('n1')
    const made = await reportWhen(({ state }) => state === 'Ready')
    expect(made).toMatchObject({ requestId: 'begun', calibration: { writeIops: 50_000 } })
  })
})

describe('a drive that is to be formatted by force', () => {
  const requestId = 'again'
  beforeEach(async () => {
    await node.agent.stop() // its node is Ready for a while
    await fixture.store.patch(Drive, { name }, { spec: { format: { requestId, force: true } } })
  })

  it('is given no volume before it is; afterwards the volume that waited is placed there', async () => {
    await fixture.createVolume('v1')
    const waiting = await fixture.volumeWhen('v1', ({ status }) => status?.code !== undefined)
    expect(waiting.status!.message).toContain('drive n1.drive0 is to be formatted')
    await fixture.restartAgent('n1')
    await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
    await reportWhen((report) => report.requestId === requestId)
  })

  it('stays as it is when a volume was placed there at that very moment', async () => {
    const { id } = node.drive.pool!
    const { metadata } = await fixture.createVolume('v1')
    await fixture.volumeWhen('v1', ({ status }) => status?.code !== undefined)
    await placeOn(id, metadata.uid!)
    await fixture.restartAgent('n1')
    const { refused } = await reportWhen((report) => report.refused?.requestId === requestId)
    expect(refused!.message).toBe('it has volumes, and --force does not overrule this: v1')
    await fixture.volumeWhen('v1', ({ status }) => status?.phase === 'Available')
    expect(node.drive.pool!.id).toBe(id)
  })

  /** The plex that control would have made, had it not heard of the request yet. */
  function placeOn(poolId: string, volumeUid: string): Promise<Plex> {
    const place = { nodeName: 'n1', driveName: name, poolId }
    const spec = { volumeName: 'v1', volumeUid, ...place, size: 8 * 2 ** 20, iopsFloor: 0, snapshots: [] }
    return fixture.store.create(Plex, { metadata: { name: 'v1.p0', finalizers: [plexFinalizer] }, spec })
  }
})
