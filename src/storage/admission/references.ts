import { Drive, Node, PerfTier, Plex, Snapshot, Volume, type VolumeAttachment } from '../../api/index.ts'
import { VolumeAttachment as VolumeAttachmentKind } from '../../api/index.ts'
import { Conflict, NotFound } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'

/** The named volume. Throws NotFound or Conflict unless it exists and is not being deleted. */
export function existingVolume(name: string, reader: SyncReader): Volume {
  const volume = reader.get(Volume, { name })
  const remedy = 'Choose one from `dctl volume list`, or create it with `dctl volume create`.'
  if (!volume) throw new NotFound(`volume ${name} does not exist`, { remedy })
  if (volume.metadata.deletionTimestamp) throw new Conflict(`volume ${name} is being deleted`, { remedy })
  return volume
}

/** The named snapshot. Throws NotFound or Conflict unless it exists, is there, and is not being deleted. */
export function readySnapshot(name: string, reader: SyncReader): Snapshot {
  const snapshot = reader.get(Snapshot, { name })
  const remedy = 'Choose one from `dctl snapshot list`.'
  if (!snapshot) throw new NotFound(`snapshot ${name} does not exist`, { remedy })
  if (snapshot.metadata.deletionTimestamp) throw new Conflict(`snapshot ${name} is being deleted`, { remedy })
  if (snapshot.status?.phase !== 'Ready') {
    throw new Conflict(`snapshot ${name} is not there yet: it is ${snapshot.status?.phase ?? 'Pending'}`, {
      remedy: 'Wait until `dctl snapshot list` shows it Ready.',
    })
  }
  return snapshot
}

/** Throws NotFound or Conflict unless the tier exists and is not being deleted. */
export function checkTierExists(name: string, reader: SyncReader): void {
  const tier = reader.get(PerfTier, { name })
  const remedy = 'Choose one from `dctl perf-tier list`, or create it with `dctl perf-tier create`.'
  if (!tier) throw new NotFound(`perf-tier ${name} does not exist`, { remedy })
  if (tier.metadata.deletionTimestamp) throw new Conflict(`perf-tier ${name} is being deleted`, { remedy })
}

/** Throws NotFound unless the node exists. */
export function checkNodeExists(name: string, reader: SyncReader): void {
  if (reader.get(Node, { name })) return
  throw new NotFound(`node ${name} does not exist`, {
    remedy: 'Choose one from `dctl node list`; a node appears there when its agent runs.',
  })
}

/** Volumes that have a plex on a drive. */
export function volumesOnDrive({ metadata: { name } }: Drive, reader: SyncReader): string[] {
  return reader
    .list(Plex)
    .filter(({ spec }) => spec.driveName === name)
    .map(({ spec }) => spec.volumeName)
}

/** The right that a node has to a volume now, if any. */
export function attachmentOf(volumeName: string, reader: SyncReader): VolumeAttachment | undefined {
  return reader.get(VolumeAttachmentKind, { name: volumeName })
}
