import { Plex, Snapshot, type Volume } from '../../api/index.ts'
import { NotFound } from '../../base/index.ts'
import { findObject, type ResourceStore } from '../../store/index.ts'
import { plexName } from '../plex-names.ts'
import type { PlexSpec } from './plex-spec.ts'

/** What a plex starts as. */
export type PlexSource = NonNullable<PlexSpec['source']>

/** Where the content of a new volume comes from; NotFound when that is gone, undefined for an empty volume. */
export async function sourceOf(
  store: ResourceStore,
  { spec: { source } }: Volume,
): Promise<PlexSource | undefined | NotFound> {
  if (!source) return undefined
  const remedy = { remedy: 'Delete the volume and create it from another source.' }
  if ('volumeName' in source) {
    const plex = await findObject(store, Plex, { name: plexName(source.volumeName, 0) })
    if (!plex) return new NotFound(`volume ${source.volumeName}, the source, does not exist any more`, remedy)
    const { nodeName, driveName } = plex.spec
    return { uid: plex.metadata.uid!, kind: 'Plex', nodeName, driveName, size: plex.status?.size ?? plex.spec.size }
  }
  const snapshot = await findObject(store, Snapshot, { name: source.snapshotName })
  const plex = snapshot && (await findObject(store, Plex, { name: plexName(snapshot.spec.volumeName, 0) }))
  if (!plex || snapshot.status?.phase !== 'Ready') {
    return new NotFound(`snapshot ${source.snapshotName}, the source, does not exist any more`, remedy)
  }
  return snapshotSource(snapshot, plex.spec)
}

/** The source that is a snapshot of a plex. */
export function snapshotSource(
  { metadata, status }: Snapshot,
  { nodeName, driveName, size }: Pick<PlexSpec, 'nodeName' | 'driveName' | 'size'>,
): PlexSource {
  return { uid: metadata.uid!, kind: 'Snapshot', nodeName, driveName, size: status?.size ?? size }
}
