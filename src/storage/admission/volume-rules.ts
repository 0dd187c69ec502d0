import { isDeepStrictEqual } from 'node:util'
import { formatQuantity, parseQuantity, Snapshot, Volume } from '../../api/index.ts'
import { Conflict, InvalidInput } from '../../base/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { cloneAnnotation } from '../clone-annotation.ts'
import { checkVolumeSize, deviceSize } from '../volume-size.ts'
import { attachmentOf, checkNodeExists, checkTierExists, existingVolume, readySnapshot } from './references.ts'

/** Longest name of a volume: names of its plexes and of group snapshots are made from it. */
const longestName = 120

/** Checks a volume that is about to be created. Throws InvalidInput, NotFound, Conflict. */
export function admitVolumeCreate({ metadata: { name }, spec }: Volume, reader: SyncReader): void {
  if (name.length > longestName) {
    throw new InvalidInput(`the name of volume ${name.slice(0, 40)}... has ${name.length} characters`, {
      remedy: `Use at most ${longestName}.`,
    })
  }
  checkVolumeSize(spec.size, spec.filesystem, 'size')
  checkMirrors(spec.mirrorCount)
  if (spec.perfTierName !== undefined) checkTierExists(spec.perfTierName, reader)
  for (const node of spec.nodeNames ?? []) checkNodeExists(node, reader)
  if (spec.restore) {
    throw new InvalidInput(`volume ${name} cannot be restored while it is created`, {
      remedy: 'Name the snapshot as its source instead.',
    })
  }
  checkSource(name, spec, reader)
}

/** Checks a change: it grows only, its tier exists, and what it is made of stays. */
export function admitVolumeUpdate(volume: Volume, existing: Volume, reader: SyncReader): void {
  if (volume.metadata.deletionTimestamp || isDeepStrictEqual(volume.spec, existing.spec)) return
  const { name } = volume.metadata
  const { spec } = volume
  checkVolumeSize(spec.size, spec.filesystem, 'size')
  checkMirrors(spec.mirrorCount)
  checkGrowsOnly(volume, existing)
  for (const field of ['filesystem', 'source'] as const) {
    if (isDeepStrictEqual(spec[field], existing.spec[field])) continue
    throw new InvalidInput(`volume ${name}: ${field} cannot change once the volume exists`, {
      remedy: 'Create another volume.',
    })
  }
  if (spec.perfTierName !== undefined && spec.perfTierName !== existing.spec.perfTierName) {
    checkTierExists(spec.perfTierName, reader)
  }
  if (!isDeepStrictEqual(spec.restore, existing.spec.restore)) checkRestore(volume, existing, reader)
}

/** Refuses to delete a volume that has snapshots, or whose content is still being cloned. Clones stand on their own. */
export function admitVolumeDelete({ metadata: { name } }: Volume, reader: SyncReader): void {
  const snapshots = reader
    .list(Snapshot, { fieldSelector: `spec.volumeName=${name}` })
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined && !isForClone(metadata))
    .map(({ metadata }) => metadata.name)
  if (snapshots.length > 0) {
    const remedy = `Delete ${snapshots.length === 1 ? 'it' : 'them'} first with \`dctl snapshot delete\`.`
    throw inUse(`volume ${name}`, 'snapshot', snapshots, remedy)
  }
  const clones = reader
    .list(Volume)
    .filter(({ spec, status }) => isFrom(spec, name) && status?.phase !== 'Available')
    .map(({ metadata }) => metadata.name)
  if (clones.length > 0) throw inUse(`volume ${name}`, 'unfinished clone', clones, 'Wait until they are Available.')
}

/** Such a snapshot goes with the clone, which is named instead while it is unfinished. */
function isForClone({ annotations }: Snapshot['metadata']): boolean {
  return annotations?.[cloneAnnotation] !== undefined
}

function isFrom({ source }: Volume['spec'], volumeName: string): boolean {
  return source !== undefined && 'volumeName' in source && source.volumeName === volumeName
}

function checkMirrors(mirrorCount: number): void {
  if (mirrorCount <= 1) return
  throw new InvalidInput(`mirrorCount ${mirrorCount}: mirrors across nodes are not in this version`, {
    remedy: 'Use mirrorCount 1, which is one copy.',
  })
}

function checkSource(name: string, { source, size, filesystem }: Volume['spec'], reader: SyncReader): void {
  if (!source) return
  const [what, bytes, sourceFilesystem] = sourceFacts(source, reader)
  if (deviceSize(size) < bytes) {
    throw new InvalidInput(`volume ${name} with ${size} is smaller than ${what}, which has ${formatQuantity(bytes)}`, {
      remedy: `Use at least ${bytes} bytes, or leave the size out.`,
    })
  }
  if (filesystem !== sourceFilesystem) {
    const [asked, there] = [filesystem ?? 'a raw block device', sourceFilesystem ?? 'a raw block device']
    throw new InvalidInput(`volume ${name} would have ${asked}, ${what} has ${there}`, {
      remedy: 'Ask for what the source has.',
    })
  }
}

function sourceFacts(
  source: NonNullable<Volume['spec']['source']>,
  reader: SyncReader,
): [what: string, bytes: number, filesystem: string | undefined] {
  if ('snapshotName' in source) {
    const { status } = readySnapshot(source.snapshotName, reader)
    return [`snapshot ${source.snapshotName}`, status?.size ?? 0, status?.filesystem]
  }
  const { spec, status } = existingVolume(source.volumeName, reader)
  return [`volume ${source.volumeName}`, status?.size ?? deviceSize(spec.size), spec.filesystem]
}

/** An enlargement that did not fit may be taken back as far as the volume has not grown. */
function checkGrowsOnly({ metadata, spec }: Volume, { spec: before, status }: Volume): void {
  const [now, then] = [parseQuantity(spec.size, 'size'), parseQuantity(before.size, 'size')]
  const reached = Math.min(then, status?.size ?? then)
  if (now >= reached) return
  throw new InvalidInput(
    `volume ${metadata.name} has ${formatQuantity(reached)} and cannot shrink to ${formatQuantity(now)}`,
    { remedy: 'Create a smaller volume and copy the files.' },
  )
}

function checkRestore({ metadata: { name, uid }, spec }: Volume, existing: Volume, reader: SyncReader): void {
  if (!spec.restore) return
  const attachment = attachmentOf(name, reader)
  if (attachment) {
    throw new Conflict(`volume ${name} is attached to node ${attachment.spec.nodeName} and cannot be restored now`, {
      remedy: 'Stop what uses it, then restore it.',
    })
  }
  const { snapshotName } = spec.restore
  const { status, spec: snapshot } = readySnapshot(snapshotName, reader)
  if (snapshot.volumeName !== name || status?.volumeUid !== uid) {
    throw new InvalidInput(`snapshot ${snapshotName} is of volume ${snapshot.volumeName}, not of ${name}`, {
      remedy: `Use a snapshot of ${name}, or make a new volume with \`dctl volume create NAME --src ${snapshotName}\`.`,
    })
  }
  if (isRestoring(existing)) {
    throw new Conflict(`volume ${name} is being restored already`, { remedy: 'Wait until that is done.' })
  }
}

/** Whether a restore was asked for that is not done. */
export function isRestoring({ spec, status }: Volume): boolean {
  return spec.restore !== undefined && spec.restore.requestId !== status?.restoredRequestId
}
