import { isDeepStrictEqual } from 'node:util'
import type { Plex, Snapshot, SnapshotGroup, Volume } from '../../api/index.ts'
import type { IopsRates } from '../../guarantee/index.ts'
import { plexName } from '../plex-names.ts'
import { deviceSize } from '../volume-size.ts'

/** What control writes of a plex. */
export type PlexSpec = Plex['spec']

/** Who is promised something in a drive's ledger for a copy of a volume. */
export function promiseOwner(volumeUid: string, index: number): string {
  return `${volumeUid}/${index}`
}

/** The same for a plex that exists. */
export function promiseOwnerOf({ metadata, spec }: Plex): string {
  return `${spec.volumeUid}/${metadata.name.slice(metadata.name.lastIndexOf('.p') + 2)}`
}

/** Size and rates that a volume asks for, as they stand in a plex. */
export function wantedShape(volume: Volume, rates: IopsRates): Pick<PlexSpec, 'size' | 'iopsFloor' | 'iopsCap'> {
  return { size: deviceSize(volume.spec.size), ...rates }
}

/** The spec without snapshots that are to go, and with the restore that the volume asks for. */
export function withoutReleased(spec: PlexSpec, snapshots: Snapshot[], restore: PlexSpec['restore']): PlexSpec {
  const kept = new Set(
    snapshots.filter(({ metadata }) => !metadata.deletionTimestamp).map(({ metadata }) => metadata.uid),
  )
  const { restore: _before, ...rest } = spec
  return {
    ...rest,
    snapshots: spec.snapshots.filter(({ uid }) => kept.has(uid)),
    ...(restore ? { restore } : {}),
  }
}

/** The spec with one more snapshot; of a group, with all its members on the drive. */
export function withSnapshot(spec: PlexSpec, snapshot: Snapshot, group: SnapshotGroup | undefined): PlexSpec {
  const { metadata } = snapshot
  const entry: PlexSpec['snapshots'][number] = {
    uid: metadata.uid!,
    name: metadata.name,
    ...(group
      ? { groupUid: group.metadata.uid!, groupPlexes: group.spec.volumeNames.map((name) => plexName(name, 0)) }
      : {}),
    ...(snapshot.spec.quiesce ? { quiesce: true } : {}),
  }
  return { ...spec, snapshots: [...spec.snapshots, entry] }
}

/** The merge patch from one spec to another; undefined when they are the same. What the new one lacks is removed. */
export function specPatch(before: PlexSpec, after: PlexSpec): object | undefined {
  if (isDeepStrictEqual(before, after)) return undefined
  const removed = Object.fromEntries(
    Object.keys(before)
      .filter((key) => !(key in after))
      .map((key) => [key, null]),
  )
  return { spec: { ...removed, ...after } }
}
