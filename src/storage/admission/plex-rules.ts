import { Volume, type Plex } from '../../api/index.ts'
import { InvalidInput, NotFound } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'

/** A plex is a copy of a volume that exists, and named after it. Who may write plexes is a matter of roles. */
export function admitPlexCreate({ metadata: { name }, spec }: Plex, reader: SyncReader): void {
  if (!name.startsWith(`${spec.volumeName}.p`)) {
    throw new InvalidInput(`plex ${name} is not named after volume ${spec.volumeName}`, {
      remedy: 'Plexes are made by control; create a volume instead.',
    })
  }
  if (reader.get(Volume, { name: spec.volumeName })?.metadata.uid === spec.volumeUid) return
  throw new NotFound(`plex ${name}: volume ${spec.volumeName} does not exist`, {
    remedy: 'Plexes are made by control; create a volume instead.',
  })
}
