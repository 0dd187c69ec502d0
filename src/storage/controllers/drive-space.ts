import type { Drive, Plex } from '../../api/index.ts'
import { nothing, promisableIops, promisableSpace, type Amounts } from '../../guarantee/index.ts'

/**
 * What of a drive can be promised to plexes in all. Space: what its pool can hold but for what is held already by nobody
 * alone (snapshots, what clones share); a plex counts with its whole size, because it may own all of it one day.
 */
export function driveTotals({ status }: Drive): Amounts {
  const { pool, calibration, state } = status?.agent ?? {}
  if (!pool || state !== 'Ready') return { ...nothing }
  return {
    ...nothing,
    iops: calibration ? promisableIops(Math.min(calibration.readIops, calibration.writeIops)) : 0,
    space: Math.max(0, promisableSpace(pool.capacity) - pool.held),
  }
}

type SnapshotWish = Plex['spec']['snapshots'][number]

/** What of a plex decides its share of the drive. */
export type PlexShare = Pick<Plex['spec'], 'size' | 'iopsFloor' | 'source' | 'driveName'> & {
  snapshots: SnapshotWish[]
}

/**
 * What a plex takes of its drive: its floor and its size, and for everything that shares its blocks since the drive was
 * measured last, what it may have to write anew because of that.
 */
export function amountsOf(share: PlexShare, status: Plex['status'], drive: Drive | undefined): Amounts {
  const measuredAt = drive?.status?.agent?.pool?.measuredAt ?? ''
  const unsettled = unsettledSnapshots(share, status, measuredAt)
  const cloned = share.source && isUnsettledClone(share, status, measuredAt) ? share.source.size : 0
  return { ...nothing, iops: share.iopsFloor, space: share.size * (1 + unsettled) + cloned }
}

/**
 * Whether the drive's last measurement contains everything that shares blocks of a plex. Until it does, the plex counts
 * with more than it will: what does not fit then may fit a moment later.
 */
export function isSettled(share: PlexShare, status: Plex['status'], drive: Drive | undefined): boolean {
  const measuredAt = drive?.status?.agent?.pool?.measuredAt ?? ''
  return unsettledSnapshots(share, status, measuredAt) === 0 && !isUnsettledClone(share, status, measuredAt)
}

/** How many snapshots there may be that the last measurement of the drive does not contain. */
function unsettledSnapshots(share: PlexShare, status: Plex['status'], measuredAt: string): number {
  const known = new Map((status?.snapshots ?? []).map((snapshot) => [snapshot.uid, snapshot]))
  const uids = new Set([...share.snapshots.map(({ uid }) => uid), ...known.keys()])
  return [...uids].filter((uid) => {
    const { takenAt, failure } = known.get(uid) ?? {}
    return failure === undefined && !(takenAt !== undefined && takenAt < measuredAt)
  }).length
}

function isUnsettledClone({ source, driveName }: PlexShare, status: Plex['status'], measuredAt: string): boolean {
  if (source?.kind !== 'Plex' || source.driveName !== driveName) return false
  return !(status?.madeAt !== undefined && status.madeAt < measuredAt)
}
