import { isDeepStrictEqual } from 'node:util'
import type { Drive } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { volumesOnDrive } from './references.ts'

/** A drive stays where it is; a format request is refused while volumes are on the drive. */
export function admitDriveUpdate(drive: Drive, existing: Drive, reader: SyncReader): void {
  if (drive.metadata.deletionTimestamp) return
  const { name } = drive.metadata
  for (const field of ['nodeName', 'device'] as const) {
    if (drive.spec[field] === existing.spec[field]) continue
    throw new InvalidInput(`drive ${name}: ${field} cannot change`, {
      remedy: 'The agent of a node makes an object for each drive that it finds.',
    })
  }
  const isNewRequest = drive.spec.format && !isDeepStrictEqual(drive.spec.format, existing.spec.format)
  if (isNewRequest) checkUnused(drive, reader, 'Delete them or move their data first; --force does not overrule this.')
}

/** Refuses to forget a drive that volumes are on. */
export function admitDriveDelete(drive: Drive, reader: SyncReader): void {
  checkUnused(drive, reader, 'Delete them first.')
}

function checkUnused(drive: Drive, reader: SyncReader, remedy: string): void {
  const volumes = volumesOnDrive(drive, reader)
  if (volumes.length > 0) throw inUse(`drive ${drive.metadata.name}`, 'volume', volumes, remedy)
}
