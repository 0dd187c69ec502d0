import type { Plex } from '../../api/index.ts'
import type { EntryUsage, PoolEntry } from '../pool-format.ts'

type SnapshotStatus = NonNullable<Plex['status']>['snapshots'][number]

/** What the agent does next for a plex; `report` is the last for now. */
export type PlexStep =
  | { step: 'delete'; entryIds: string[] }
  | { step: 'release' }
  | { step: 'down'; message: string }
  | { step: 'create' }
  | { step: 'clone'; sourceId: string }
  | { step: 'copy' }
  | { step: 'resize' }
  | { step: 'restore'; snapshotUid: string; requestId: string }
  | { step: 'delete-snapshots'; entryIds: string[] }
  | { step: 'announce-snapshots'; uids: string[] }
  | { step: 'report' }

/**
 * Decides the next step for a plex from its object and from what is in its pool. Everything that may come to be in the
 * pool is in the object before: the plex itself by its finalizer, a snapshot by its place in `status.snapshots`; so what
 * is to be deleted is known from the object alone, and nothing else in a pool is ever deleted.
 */
export function nextPlexStep(plex: Plex, entries: PoolEntry[]): PlexStep {
  const { metadata, spec, status } = plex
  const uid = metadata.uid!
  const byId = new Map(entries.map((entry) => [entry.id, entry]))
  const entry = byId.get(uid)
  if (metadata.deletionTimestamp) {
    const known = new Set([...(status?.snapshots ?? []), ...spec.snapshots].map((snapshot) => snapshot.uid))
    const left = [...known].filter((id) => isSnapshot(byId.get(id))).concat(entry ? [uid] : [])
    return left.length > 0 ? { step: 'delete', entryIds: left } : { step: 'release' }
  }
  const isCopy = spec.source !== undefined && spec.source.driveName !== spec.driveName
  if (isCopy && status?.madeAt === undefined) return { step: 'copy' }
  if (!entry) return missingStep(plex, byId)
  if (entry.size < spec.size) return { step: 'resize' }
  const { restore } = spec
  if (restore && status?.restoredRequestId !== restore.requestId) {
    if (!byId.has(restore.snapshotUid)) return { step: 'down', message: 'the snapshot to restore is not in the pool' }
    return { step: 'restore', ...restore }
  }
  return snapshotStep(plex, byId)
}

/** Nothing is made twice: what was there once and is gone was lost, and an empty volume in its place would hide that. */
function missingStep({ spec, status }: Plex, byId: Map<string, PoolEntry>): PlexStep {
  if (status?.madeAt !== undefined) return { step: 'down', message: 'its data is not in the pool any more' }
  if (!spec.source) return { step: 'create' }
  if (byId.has(spec.source.uid)) return { step: 'clone', sourceId: spec.source.uid }
  return { step: 'down', message: `its source ${spec.source.uid} is not in the pool` }
}

function snapshotStep({ spec, status }: Plex, byId: Map<string, PoolEntry>): PlexStep {
  const wanted = new Set(spec.snapshots.map(({ uid }) => uid))
  const known = new Set((status?.snapshots ?? []).map(({ uid }) => uid))
  const released = [...known].filter((uid) => !wanted.has(uid) && isSnapshot(byId.get(uid)))
  if (released.length > 0) return { step: 'delete-snapshots', entryIds: released }
  const news = [...wanted].filter((uid) => !known.has(uid))
  return news.length > 0 ? { step: 'announce-snapshots', uids: news } : { step: 'report' }
}

/** What a plex says of snapshots is never a reason to delete a volume, whatever stands there. */
function isSnapshot(entry: PoolEntry | undefined): boolean {
  return entry?.kind === 'snapshot'
}

/** Snapshots of the plex that are announced and not taken. */
export function snapshotsToTake({ spec, status }: Plex, entries: PoolEntry[]): Plex['spec']['snapshots'] {
  const there = new Set(entries.map(({ id }) => id))
  const announced = new Map((status?.snapshots ?? []).map((snapshot) => [snapshot.uid, snapshot]))
  return spec.snapshots.filter(({ uid }) => {
    const known = announced.get(uid)
    return known !== undefined && known.takenAt === undefined && known.failure === undefined && !there.has(uid)
  })
}

/** What the status says about a snapshot, from what it said and what is in the pool. */
export function snapshotReport(
  before: SnapshotStatus,
  entry: PoolEntry | undefined,
  now: { time: string; usage?: EntryUsage; failure?: string },
): SnapshotStatus {
  const { uid, takenAt, failure } = before
  if (entry) {
    const usage = now.usage ?? before.usage
    return { uid, takenAt: takenAt ?? now.time, size: entry.size, ...(usage ? { usage } : {}) }
  }
  if (takenAt !== undefined) return { uid, failure: 'its data is not in the pool any more' }
  const why = now.failure ?? failure
  return why === undefined ? { uid } : { uid, failure: why }
}
