import { isDeepStrictEqual } from 'node:util'
import type { VolumeAttachment } from '../../api/index.ts'
import { Conflict, InvalidInput } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { existingVolume } from './references.ts'
import { isRestoring } from './volume-rules.ts'

/** Checks that a node may use a volume: it exists, is whole, and has a copy on that node. Throws NotFound, Conflict. */
export function admitAttachmentCreate({ metadata: { name }, spec }: VolumeAttachment, reader: SyncReader): void {
  if (name !== spec.volumeName) {
    throw new InvalidInput(`a VolumeAttachment is named after its volume: ${name} is not ${spec.volumeName}`, {
      remedy: 'Give it the name of the volume, which makes it the lock of that volume.',
    })
  }
  const volume = existingVolume(spec.volumeName, reader)
  if (volume.metadata.uid !== spec.volumeUid) {
    throw new Conflict(`volume ${name} is another one now: its uid is ${volume.metadata.uid}, not ${spec.volumeUid}`, {
      remedy: 'Read the volume again.',
    })
  }
  const { phase, message, plexes = [], inSync = [] } = volume.status ?? {}
  if (phase !== 'Available') {
    throw new Conflict(`volume ${name} is ${phase ?? 'Pending'}${message ? `: ${message}` : ''}`, {
      remedy: 'Wait until `dctl volume list` shows it Available.',
    })
  }
  if (isRestoring(volume)) {
    throw new Conflict(`volume ${name} is being restored`, { remedy: 'Wait until that is done.' })
  }
  const usable = plexes.filter((plex) => inSync.includes(plex.name)).map(({ nodeName }) => nodeName)
  if (usable.includes(spec.nodeName)) return
  throw new Conflict(`volume ${name} is on node ${usable.join(', ')} and cannot be used on ${spec.nodeName}`, {
    remedy: 'Use it where it is: volumes are local to the node of their drive in this version.',
  })
}

/** Whose right it is does not change. */
export function admitAttachmentUpdate(attachment: VolumeAttachment, existing: VolumeAttachment): void {
  if (isDeepStrictEqual(attachment.spec, existing.spec)) return
  throw new InvalidInput(`VolumeAttachment ${attachment.metadata.name} cannot be changed`, {
    remedy: 'Detach the volume, then attach it anew.',
  })
}
