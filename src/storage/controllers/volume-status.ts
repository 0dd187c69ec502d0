import type { Plex, Snapshot, Volume } from '../../api/index.ts'
import type { CarbonadoError } from '../../base/index.ts'

type VolumeStatus = NonNullable<Volume['status']>
type SnapshotStatus = NonNullable<Snapshot['status']>

/** Fields of the status of a volume that are not always there: a merge patch removes those that a new status lacks. */
const optionalVolumeFields = [
  ...(['code', 'message', 'remedy', 'size', 'deviceSize', 'perfTierName', 'iopsFloor', 'iopsCap'] as const),
  ...(['usage', 'restoredRequestId', 'progress'] as const),
]

const optionalSnapshotFields = [
  ...(['code', 'message', 'remedy', 'volumeUid', 'nodeNames', 'takenAt', 'size', 'filesystem', 'usage'] as const),
]

/** Code, message and remedy of an error as they stand in a status. */
export function problemFields(problem: CarbonadoError | undefined): Pick<VolumeStatus, 'code' | 'message' | 'remedy'> {
  if (!problem) return {}
  const { code, message, remedy } = problem
  return { code, message, ...(remedy === undefined ? {} : { remedy }) }
}

/** What a volume's status is to say; `problem` is why it is not, or not as, it was asked for. */
export function volumeStatus(
  volume: Volume,
  plex: Plex | undefined,
  tierName: string | undefined,
  problem: CarbonadoError | undefined,
): VolumeStatus {
  const generation = volume.metadata.generation ?? 0
  if (!plex) return { phase: 'Pending', generation, plexes: [], inSync: [], ...problemFields(problem) }
  const { spec, status, metadata } = plex
  const isUp = status?.state === 'Up'
  const waiting = problem
    ? {}
    : isUp
      ? status.message === undefined
        ? {}
        : { message: status.message }
      : { message: status?.message ?? `waiting for the agent of node ${spec.nodeName}` }
  const copying = status?.progress !== undefined && status.progress < 1 ? { progress: status.progress } : {}
  return {
    phase: volume.metadata.deletionTimestamp ? 'Releasing' : isUp ? 'Available' : 'Pending',
    generation,
    ...waiting,
    ...problemFields(problem),
    ...(status?.size === undefined ? {} : { size: status.size }),
    ...(status?.deviceSize === undefined ? {} : { deviceSize: status.deviceSize }),
    ...(tierName === undefined ? {} : { perfTierName: tierName }),
    iopsFloor: spec.iopsFloor,
    ...(spec.iopsCap === undefined ? {} : { iopsCap: spec.iopsCap }),
    plexes: [{ name: metadata.name, nodeName: spec.nodeName, driveName: spec.driveName }],
    inSync: isUp ? [metadata.name] : [],
    ...(status?.usage ? { usage: status.usage } : {}),
    ...(status?.restoredRequestId === undefined ? {} : { restoredRequestId: status.restoredRequestId }),
    ...copying,
  }
}

/** What a snapshot's status is to say. `refused`: why it was never asked of the plex. */
export function snapshotStatus(
  { metadata, spec, status }: Snapshot,
  volume: Volume | undefined,
  plex: Plex | undefined,
  refused: CarbonadoError | undefined,
): SnapshotStatus {
  if (status?.phase === 'Failed' && !metadata.deletionTimestamp) return status
  if (refused) return { phase: 'Failed', ...problemFields(refused) }
  const known = plex?.status?.snapshots.find(({ uid }) => uid === metadata.uid)
  if (metadata.deletionTimestamp) {
    const { code: _code, message: _message, remedy: _remedy, ...kept } = status ?? { phase: 'Releasing' }
    return { ...kept, phase: 'Releasing' }
  }
  if (known?.failure !== undefined) return { phase: 'Failed', code: 'Unavailable', message: known.failure }
  if (!plex || known?.takenAt === undefined) {
    return status?.phase === 'Ready' ? status : { phase: 'Pending', message: `waiting for volume ${spec.volumeName}` }
  }
  return {
    phase: 'Ready',
    volumeUid: plex.spec.volumeUid,
    nodeNames: [plex.spec.nodeName],
    takenAt: known.takenAt,
    size: known.size ?? status?.size ?? plex.status?.size ?? plex.spec.size,
    ...(volume?.spec.filesystem ? { filesystem: volume.spec.filesystem } : {}),
    ...(known.usage ? { usage: known.usage } : {}),
  }
}

/** The merge patch that replaces the status of a volume as a whole. */
export function volumeStatusPatch(status: VolumeStatus): object {
  return { status: { ...cleared(optionalVolumeFields), ...status } }
}

/** The merge patch that replaces the status of a snapshot as a whole. */
export function snapshotStatusPatch(status: SnapshotStatus): object {
  return { status: { ...cleared(optionalSnapshotFields), ...status } }
}

function cleared(fields: readonly string[]): Record<string, null> {
  return Object.fromEntries(fields.map((field) => [field, null]))
}
