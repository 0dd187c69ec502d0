import { describe, expect, it } from 'vitest'
import type { Plex } from '../../api/index.ts'
import type { PoolEntry } from '../pool-format.ts'
import { nextPlexStep, snapshotReport, snapshotsToTake } from './plex-decision.ts'

const madeAt = '2026-01-01T00:00:00.000Z'
const volume: PoolEntry = { id: 'p', kind: 'volume', size: 10 }
const snapshot: PoolEntry = { id: 's', kind: 'snapshot', size: 10, sourceId: 'p' }
const stranger: PoolEntry = { id: 'x', kind: 'volume', size: 10 }

function plex(spec: Partial<Plex['spec']> = {}, status?: Partial<Plex['status']>, going = false): Plex {
  return {
    metadata: { name: 'v.p0', uid: 'p', ...(going ? { deletionTimestamp: madeAt } : {}) },
    spec: {
      ...{ volumeName: 'v', volumeUid: 'u', nodeName: 'n1', driveName: 'n1.d', poolId: 'pool' },
      ...{ size: 10, iopsFloor: 0, snapshots: [] },
      ...spec,
    },
    ...(status ? { status: { state: 'Up', generation: 1, snapshots: [], ...status } } : {}),
  }
}

const here = { uid: 's', kind: 'Snapshot' as const, nodeName: 'n1', driveName: 'n1.d', size: 10 }
const wanted = { snapshots: [{ uid: 's', name: 's1' }] }

describe('nextPlexStep', () => {
  it.each([
    ['makes what was never there', plex(), [stranger], { step: 'create' }],
    ['clones from what is in the pool', plex({ source: here }), [snapshot], { step: 'clone', sourceId: 's' }],
    ['waits for a source that is not', plex({ source: here }), [], { step: 'down' }],
    ['copies from another drive', plex({ source: { ...here, driveName: 'n2.d' } }), [], { step: 'copy' }],
    [
      'goes on copying what was cut off',
      plex({ source: { ...here, driveName: 'n2.d' } }, { state: 'Pending', progress: 0.5 }),
      [volume],
      { step: 'copy' },
    ],
    ['makes nothing empty where data was lost', plex({}, { madeAt }), [stranger], { step: 'down' }],
    ['grows', plex({ size: 20 }, { madeAt }), [volume], { step: 'resize' }],
    [
      'restores once for each request',
      plex({ restore: { snapshotUid: 's', requestId: 'r2' } }, { madeAt, restoredRequestId: 'r1' }),
      [volume, snapshot],
      { step: 'restore', requestId: 'r2' },
    ],
    [
      'and not again',
      plex({ restore: { snapshotUid: 's', requestId: 'r2' } }, { madeAt, restoredRequestId: 'r2' }),
      [volume, snapshot],
      { step: 'report' },
    ],
    [
      'says that there may be a snapshot before there is',
      plex(wanted, { madeAt }),
      [volume],
      { step: 'announce-snapshots' },
    ],
    [
      'deletes no volume, whatever its status calls a snapshot',
      plex({}, { madeAt, snapshots: [{ uid: 'x' }] }),
      [volume, stranger],
      { step: 'report' },
    ],
    [
      'nor when it goes itself',
      plex({}, { madeAt, snapshots: [{ uid: 'x' }, { uid: 's' }] }, true),
      [volume, snapshot, stranger],
      { step: 'delete', entryIds: ['s', 'p'] },
    ],
    [
      'deletes a snapshot that it announced and that is not wanted any more',
      plex({}, { madeAt, snapshots: [{ uid: 's' }] }),
      [volume, snapshot],
      { step: 'delete-snapshots', entryIds: ['s'] },
    ],
    ['leaves alone what it never announced', plex({}, { madeAt }), [volume, snapshot, stranger], { step: 'report' }],
    [
      'deletes its own when it is to go, snapshots first',
      plex(wanted, { madeAt, snapshots: [{ uid: 's', takenAt: madeAt }] }, true),
      [volume, snapshot, stranger],
      { step: 'delete', entryIds: ['s', 'p'] },
    ],
    ['and is released when nothing of it is left', plex({}, { madeAt }, true), [stranger], { step: 'release' }],
  ])('%s', (_what, object, entries, expected) => {
    expect(nextPlexStep(object, entries)).toMatchObject(expected)
  })
})

describe('snapshots', () => {
  it('are taken when they are announced, and not when they are there, taken or failed', () => {
    const announced = plex(wanted, { madeAt, snapshots: [{ uid: 's' }] })
    expect(snapshotsToTake(announced, [volume])).toHaveLength(1)
    expect(snapshotsToTake(announced, [volume, snapshot])).toHaveLength(0)
    expect(snapshotsToTake(plex(wanted, { madeAt }), [volume])).toHaveLength(0)
    for (const known of [{ takenAt: madeAt }, { failure: 'no room' }]) {
      expect(snapshotsToTake(plex(wanted, { madeAt, snapshots: [{ uid: 's', ...known }] }), [volume])).toHaveLength(0)
    }
  })

  it('are reported as they are, and as lost when they were there', () => {
    const now = { time: 'now', usage: { own: 1, shared: 2, reclaimable: 3 } }
    expect(snapshotReport({ uid: 's' }, snapshot, now)).toEqual({
      uid: 's',
      takenAt: 'now',
      size: 10,
      usage: now.usage,
    })
    expect(snapshotReport({ uid: 's', takenAt: madeAt }, snapshot, { time: 'now' })).toMatchObject({ takenAt: madeAt })
    expect(snapshotReport({ uid: 's' }, undefined, { ...now, failure: 'full' })).toEqual({ uid: 's', failure: 'full' })
    expect(snapshotReport({ uid: 's', takenAt: madeAt }, undefined, now).failure).toContain('not in the pool any more')
  })
})
