import type { Drive, Node, PerfTier, Plex, Snapshot, SnapshotGroup, Volume, VolumeAttachment } from '../../api/index.ts'
import type { Informer } from '../../store/index.ts'

/** Copies in memory of everything that the controllers decide by. */
export interface StorageView {
  volumes: Informer<Volume>
  plexes: Informer<Plex>
  snapshots: Informer<Snapshot>
  groups: Informer<SnapshotGroup>
  attachments: Informer<VolumeAttachment>
  drives: Informer<Drive>
  nodes: Informer<Node>
  tiers: Informer<PerfTier>
}
