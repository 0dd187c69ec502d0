import type { Drive, Node, PerfTier, Plex, Snapshot, SnapshotGroup, Volume, VolumeAttachment } from '../../api/index.ts'
import type { AdmissionRequest, SyncReader } from '../../store/index.ts'
import { admitAttachmentCreate, admitAttachmentUpdate } from './attachment-rules.ts'
import { admitDriveDelete, admitDriveUpdate } from './drive-rules.ts'
import { admitPlexCreate } from './plex-rules.ts'
import { admitGroupCreate, admitSnapshotCreate, admitSnapshotDelete, admitUnchanged } from './snapshot-rules.ts'
import { admitNodeDelete, admitTierDelete, admitTierUpdate } from './tier-rules.ts'
import { admitVolumeCreate, admitVolumeDelete, admitVolumeUpdate } from './volume-rules.ts'

interface Rules<T> {
  create?: (object: T, reader: SyncReader) => void
  update?: (object: T, existing: T, reader: SyncReader) => void
  delete?: (object: T, reader: SyncReader) => void
}

const volumes: Rules<Volume> = { create: admitVolumeCreate, update: admitVolumeUpdate, delete: admitVolumeDelete }
const snapshots: Rules<Snapshot> = {
  create: admitSnapshotCreate,
  update: admitUnchanged,
  delete: admitSnapshotDelete,
}
const groups: Rules<SnapshotGroup> = { create: admitGroupCreate, update: admitUnchanged }
const attachments: Rules<VolumeAttachment> = { create: admitAttachmentCreate, update: admitAttachmentUpdate }
const drives: Rules<Drive> = { update: admitDriveUpdate, delete: admitDriveDelete }
const plexes: Rules<Plex> = { create: admitPlexCreate }
const tiers: Rules<PerfTier> = { update: admitTierUpdate, delete: admitTierDelete }
const nodes: Rules<Node> = { delete: admitNodeDelete }

const rulesOf: Record<string, Rules<never>> = {
  Volume: volumes,
  Snapshot: snapshots,
  SnapshotGroup: groups,
  VolumeAttachment: attachments,
  Drive: drives,
  Plex: plexes,
  PerfTier: tiers,
  Node: nodes,
}

/** Decides about every write to the kinds of storage and what it uses; others pass. Throws a CarbonadoError to refuse. */
export function storageAdmission({ verb, kind, object, existing }: AdmissionRequest, reader: SyncReader): void {
  const rules = rulesOf[kind.kind]
  if (!rules) return
  if (verb === 'create') rules.create?.(object as never, reader)
  else if (verb === 'update') rules.update?.(object as never, existing as never, reader)
  else rules.delete?.(object as never, reader)
}
