import { isDeepStrictEqual } from 'node:util'
import { Snapshot, SnapshotGroup, Volume } from '../../api/index.ts'
import { Conflict, InvalidInput, NotFound } from '../../base/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { existingVolume } from './references.ts'
import { isRestoring } from './volume-rules.ts'

/** Checks a snapshot that is about to be created. Throws NotFound, Conflict. */
export function admitSnapshotCreate({ metadata, spec }: Snapshot, reader: SyncReader): void {
  const volume = existingVolume(spec.volumeName, reader)
  if (spec.quiesce) requireFilesystem(`snapshot ${metadata.name}`, [volume])
  if (spec.groupName !== undefined && !reader.get(SnapshotGroup, { name: spec.groupName })) {
    throw new NotFound(`snapshot ${metadata.name}: snapshot group ${spec.groupName} does not exist`, {
      remedy: 'Create the group; it makes its snapshots.',
    })
  }
}

function requireFilesystem(what: string, volumes: Volume[]): void {
  const raw = volumes.find(({ spec }) => spec.filesystem === undefined)
  if (!raw) return
  throw new InvalidInput(
    `${what}: volume ${raw.metadata.name} is a raw block device, which has no filesystem to freeze`,
    {
      remedy: 'Leave quiesce out, and have the application itself flush what the snapshot is to contain.',
    },
  )
}

/** A snapshot and a group stay as they were asked for. */
export function admitUnchanged(object: Snapshot | SnapshotGroup, existing: Snapshot | SnapshotGroup): void {
  if (object.metadata.deletionTimestamp || isDeepStrictEqual(object.spec, existing.spec)) return
  throw new InvalidInput(`${object.kind} ${object.metadata.name} cannot be changed once it exists`, {
    remedy: 'Create another one.',
  })
}

/** Refuses to delete a snapshot that a clone or a restore still needs. */
export function admitSnapshotDelete({ metadata: { name } }: Snapshot, reader: SyncReader): void {
  const volumes = reader.list(Volume)
  const clones = volumes
    .filter(
      ({ spec: { source }, status }) =>
        source && 'snapshotName' in source && source.snapshotName === name && status?.phase !== 'Available',
    )
    .map(({ metadata }) => metadata.name)
  if (clones.length > 0) throw inUse(`snapshot ${name}`, 'unfinished clone', clones, 'Wait until they are Available.')
  const restoring = volumes.find((volume) => volume.spec.restore?.snapshotName === name && isRestoring(volume))
  if (!restoring) return
  throw new Conflict(`volume ${restoring.metadata.name} is being restored from snapshot ${name}`, {
    remedy: 'Wait until that is done.',
  })
}

/** Checks a group: its volumes exist, and are on one drive as far as that is known. */
export function admitGroupCreate({ metadata, spec }: SnapshotGroup, reader: SyncReader): void {
  const volumes = spec.volumeNames.map((name) => existingVolume(name, reader))
  if (spec.quiesce) requireFilesystem(`snapshot group ${metadata.name}`, volumes)
  const problem = oneInstantProblem(volumes)
  if (problem !== undefined) {
    throw new InvalidInput(`snapshot group ${metadata.name}: ${problem}`, { remedy: oneInstantRemedy })
  }
}

export const oneInstantRemedy = 'Make a group of volumes that are on one drive, or separate snapshots.'

/** Why these volumes cannot be snapshotted at one instant; undefined when they can, or when that is not known yet. */
export function oneInstantProblem(volumes: Volume[]): string | undefined {
  const [first, ...others] = volumes.flatMap(({ metadata, status }) =>
    (status?.plexes ?? []).map((plex) => ({ ...plex, volume: metadata.name })),
  )
  const elsewhere = others.find(({ driveName }) => driveName !== first!.driveName)
  if (!first || !elsewhere) return undefined
  return (
    `volume ${first.volume} is on drive ${first.driveName} and volume ${elsewhere.volume} on ${elsewhere.driveName}: ` +
    'one instant can only be had on one drive'
  )
}
