import type {
  Drive,
  KindDefinition,
  KubeObject,
  Node,
  PerfTier,
  Plex,
  Snapshot,
  SnapshotGroup,
  Volume,
  VolumeAttachment,
} from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'

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

/** An object as it is in the store now; undefined when it does not exist. */
export async function liveObject<T extends KubeObject>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  name: string,
): Promise<T | undefined> {
  try {
    return await store.get(kind, { name })
  } catch (error) {
    if (error instanceof CarbonadoError && error.code === 'NotFound') return undefined
    throw error
  }
}

/** Whether a write failed because the object was changed or went away meanwhile: look again. */
export function isStale(error: unknown): boolean {
  return error instanceof CarbonadoError && (error.code === 'Conflict' || error.code === 'NotFound')
}
