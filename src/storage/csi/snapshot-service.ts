import { Snapshot, SnapshotGroup, Volume } from '../../api/index.ts'
import { CarbonadoError, type ErrorCode } from '../../base/index.ts'
import { findObject, ignoreNotFound } from '../../store/index.ts'
import { cloneAnnotation } from '../clone-annotation.ts'
import { patienceOf, type ControllerContext } from './controller-context.ts'
import { CsiError } from './csi-errors.ts'
import type {
  CreateSnapshotRequest,
  CreateVolumeGroupSnapshotRequest,
  CsiGroupSnapshot,
  CsiSnapshot,
  CsiTimestamp,
  GroupSnapshotIdRequest,
  ListSnapshotsRequest,
  SnapshotIdRequest,
  Texts,
} from './csi-messages.ts'
import { listAll } from './listing-service.ts'
import { checkMadeFor, csiNameAnnotation, isId, objectNameOf } from './object-names.ts'
import { waitForObject } from './object-wait.ts'
import { pageOf } from './paging.ts'
import { checkParameters } from './volume-request.ts'

/** A snapshot as orchestrators are told of it. */
function csiSnapshot({ metadata, spec, status }: Snapshot): CsiSnapshot {
  return {
    sizeBytes: status?.size ?? 0,
    snapshotId: metadata.name,
    sourceVolumeId: spec.volumeName,
    creationTime: timestampOf(status?.takenAt ?? metadata.creationTimestamp),
    readyToUse: status?.phase === 'Ready',
    ...(spec.groupName === undefined ? {} : { groupSnapshotId: spec.groupName }),
  }
}

function timestampOf(time: string | undefined): CsiTimestamp | undefined {
  if (time === undefined) return undefined
  const milliseconds = Date.parse(time)
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1e6 }
}

/** Takes a snapshot, or finds the one that an earlier call of that name took; answers when it can be used. */
export async function createSnapshot(context: ControllerContext, request: CreateSnapshotRequest): Promise<object> {
  const { store } = context
  const { sourceVolumeId, name } = request
  if (sourceVolumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no source volume id')
  const quiesce = wantsQuiesce(request.parameters)
  const objectName = objectNameOf(name, 'snapshot')
  let snapshot = await findObject(store, Snapshot, { name: objectName })
  if (!snapshot) {
    await checkVolumeExists(context, sourceVolumeId)
    const metadata = { name: objectName, annotations: { [csiNameAnnotation]: name } }
    snapshot = await store
      .create(Snapshot, { metadata, spec: { volumeName: sourceVolumeId, ...quiesce } })
      .catch((error: unknown) => whenTaken(error, context, objectName))
  }
  checkMadeFor(name, snapshot.metadata, 'snapshot')
  if (snapshot.spec.volumeName !== sourceVolumeId) {
    throw new CsiError('ALREADY_EXISTS', `snapshot ${objectName} exists of volume ${snapshot.spec.volumeName}`)
  }
  return { snapshot: csiSnapshot(await untilReady(context, snapshot)) }
}

/** Parameter `quiesce` of a snapshot class: the filesystem is written out and stands still for the instant. */
function wantsQuiesce(parameters: Texts): { quiesce?: true } {
  checkParameters(parameters, ['quiesce'])
  const { quiesce = 'false' } = parameters
  if (quiesce !== 'true' && quiesce !== 'false') {
    throw new CsiError('INVALID_ARGUMENT', `parameter quiesce is "${quiesce.slice(0, 20)}", not true or false`)
  }
  return quiesce === 'true' ? { quiesce: true } : {}
}

async function checkVolumeExists({ store }: ControllerContext, id: string): Promise<void> {
  const volume = isId(id) ? await findObject(store, Volume, { name: id }) : undefined
  if (!volume || volume.metadata.deletionTimestamp) {
    throw new CsiError('NOT_FOUND', `there is no volume ${id.slice(0, 128)}`)
  }
}

async function whenTaken(error: unknown, { store }: ControllerContext, name: string): Promise<Snapshot> {
  const isTaken = error instanceof CarbonadoError && error.code === 'Conflict'
  const other = isTaken ? await findObject(store, Snapshot, { name }) : undefined
  if (other) return other
  throw error
}

/** What became of a snapshot or group; undefined while it is on its way. */
type Taken<T extends Snapshot | SnapshotGroup> = { object: T } | { failure: NonNullable<T['status']> } | undefined

/** A snapshot that failed is taken back, so that a repeated call begins anew. */
async function untilReady(context: ControllerContext, { metadata: { name, uid } }: Snapshot): Promise<Snapshot> {
  let message = 'no news of it'
  const result = await waitForObject(
    context.store,
    Snapshot,
    name,
    patienceOf(context),
    (snapshot): Taken<Snapshot> => {
      if (snapshot?.metadata.uid !== uid || snapshot!.metadata.deletionTimestamp) {
        throw new CsiError('ABORTED', `snapshot ${name} is being deleted`)
      }
      const { status } = snapshot!
      if (status?.phase === 'Ready') return { object: snapshot! }
      if (status?.phase === 'Failed') return { failure: status }
      message = status?.message ?? message
      return undefined
    },
  )
  if (result === 'late') throw new CsiError('ABORTED', `snapshot ${name} is not taken yet: ${message}`)
  if ('object' in result) return result.object
  await context.store.delete(Snapshot, { name }, { uid }).catch(ignoreNotFound)
  const { code = 'Internal', message: reason = `snapshot ${name} failed`, remedy } = result.failure
  throw new CarbonadoError(code as ErrorCode, reason, { remedy })
}

/** Deletes a snapshot; answers when it is gone. */
export async function deleteSnapshot(context: ControllerContext, { snapshotId }: SnapshotIdRequest): Promise<object> {
  const { store } = context
  if (snapshotId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no snapshot id')
  const snapshot = isId(snapshotId) ? await findObject(store, Snapshot, { name: snapshotId }) : undefined
  if (!snapshot) return {}
  const { name, uid } = snapshot.metadata
  await store.delete(Snapshot, { name }, { uid }).catch(ignoreNotFound)
  const gone = await waitForObject(store, Snapshot, name, patienceOf(context), (left) =>
    left?.metadata.uid === uid ? undefined : {},
  )
  if (gone !== 'late') return {}
  throw new CsiError('ABORTED', `snapshot ${name} is not gone yet`, { remedy: 'Try again; it goes on.' })
}

/** Snapshots that are taken, a page at a time; of one volume, or the one that was asked for. */
export async function listSnapshots({ store }: ControllerContext, request: ListSnapshotsRequest): Promise<object> {
  const { snapshotId, sourceVolumeId } = request
  const all = snapshotId === '' ? await listAll(store, Snapshot) : await one(store, snapshotId)
  const asked = all.filter(
    ({ metadata, spec, status }) =>
      status?.phase === 'Ready' &&
      metadata.annotations?.[cloneAnnotation] === undefined && // control's own
      !metadata.deletionTimestamp &&
      (sourceVolumeId === '' || spec.volumeName === sourceVolumeId),
  )
  const { entries, nextToken } = pageOf(asked, ({ metadata }) => metadata.name, request)
  return { entries: entries.map((snapshot) => ({ snapshot: csiSnapshot(snapshot) })), nextToken }
}

async function one(store: ControllerContext['store'], id: string): Promise<Snapshot[]> {
  const snapshot = isId(id) ? await findObject(store, Snapshot, { name: id }) : undefined
  return snapshot ? [snapshot] : []
}

/** One snapshot. */
export async function getSnapshot({ store }: ControllerContext, { snapshotId }: SnapshotIdRequest): Promise<object> {
  if (snapshotId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no snapshot id')
  const [snapshot] = await one(store, snapshotId)
  if (!snapshot) throw new CsiError('NOT_FOUND', `there is no snapshot ${snapshotId.slice(0, 128)}`)
  return { snapshot: csiSnapshot(snapshot) }
}

/** Snapshots of several volumes at one instant, or none. */
export async function createGroupSnapshot(
  context: ControllerContext,
  request: CreateVolumeGroupSnapshotRequest,
): Promise<object> {
  const { store } = context
  const { name, sourceVolumeIds } = request
  if (sourceVolumeIds.length === 0) throw new CsiError('INVALID_ARGUMENT', 'the request has no source volume ids')
  const quiesce = wantsQuiesce(request.parameters)
  const objectName = objectNameOf(name, 'snapshot group')
  const volumeNames = [...new Set(sourceVolumeIds)]
  let group = await findObject(store, SnapshotGroup, { name: objectName })
  if (!group) {
    for (const id of volumeNames) await checkVolumeExists(context, id)
    const metadata = { name: objectName, annotations: { [csiNameAnnotation]: name } }
    group = await store.create(SnapshotGroup, { metadata, spec: { volumeNames, ...quiesce } })
  }
  checkMadeFor(name, group.metadata, 'snapshot group')
  if ([...group.spec.volumeNames].sort().join() !== [...volumeNames].sort().join()) {
    throw new CsiError('ALREADY_EXISTS', `snapshot group ${objectName} exists of other volumes`)
  }
  return { groupSnapshot: await csiGroup(context, await untilGroupReady(context, group)) }
}

async function untilGroupReady(
  context: ControllerContext,
  { metadata: { name, uid } }: SnapshotGroup,
): Promise<SnapshotGroup> {
  const result = await waitForObject(
    context.store,
    SnapshotGroup,
    name,
    patienceOf(context),
    (group): Taken<SnapshotGroup> => {
      if (group?.metadata.uid !== uid || group!.metadata.deletionTimestamp) {
        throw new CsiError('ABORTED', `snapshot group ${name} is being deleted`)
      }
      if (group!.status?.phase === 'Ready') return { object: group! }
      return group!.status?.phase === 'Failed' ? { failure: group!.status } : undefined
    },
  )
  if (result === 'late') throw new CsiError('ABORTED', `snapshot group ${name} is not taken yet`)
  if ('object' in result) return result.object
  await context.store.delete(SnapshotGroup, { name }, { uid }).catch(ignoreNotFound)
  const { code = 'Internal', message = `snapshot group ${name} failed`, remedy } = result.failure
  throw new CarbonadoError(code as ErrorCode, message, { remedy })
}

async function csiGroup({ store }: ControllerContext, { metadata, status }: SnapshotGroup): Promise<CsiGroupSnapshot> {
  const members = await Promise.all((status?.snapshotNames ?? []).map((name) => findObject(store, Snapshot, { name })))
  return {
    groupSnapshotId: metadata.name,
    snapshots: members.flatMap((snapshot) => (snapshot ? [csiSnapshot(snapshot)] : [])),
    creationTime: timestampOf(status?.takenAt ?? metadata.creationTimestamp),
    readyToUse: status?.phase === 'Ready',
  }
}

/** Deletes a group with its snapshots; answers when all are gone. */
export async function deleteGroupSnapshot(
  context: ControllerContext,
  request: GroupSnapshotIdRequest,
): Promise<object> {
  const { store } = context
  const group = await groupOf(context, request)
  if (!group) return {}
  const { name, uid } = group.metadata
  await store.delete(SnapshotGroup, { name }, { uid }).catch(ignoreNotFound)
  const gone = await waitForObject(store, SnapshotGroup, name, patienceOf(context), (left) =>
    left?.metadata.uid === uid ? undefined : {},
  )
  if (gone !== 'late') return {}
  throw new CsiError('ABORTED', `snapshot group ${name} is not gone yet`, { remedy: 'Try again; it goes on.' })
}

/** One group. */
export async function getGroupSnapshot(context: ControllerContext, request: GroupSnapshotIdRequest): Promise<object> {
  const group = await groupOf(context, request)
  if (!group) throw new CsiError('NOT_FOUND', `there is no snapshot group ${request.groupSnapshotId.slice(0, 128)}`)
  return { groupSnapshot: await csiGroup(context, group) }
}

async function groupOf(
  { store }: ControllerContext,
  { groupSnapshotId: id, snapshotIds }: GroupSnapshotIdRequest,
): Promise<SnapshotGroup | undefined> {
  if (id === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no group snapshot id')
  const group = isId(id) ? await findObject(store, SnapshotGroup, { name: id }) : undefined
  const members = group?.status?.snapshotNames ?? []
  const stranger = group && snapshotIds.find((each) => !members.includes(each))
  if (stranger === undefined) return group
  throw new CsiError('INVALID_ARGUMENT', `snapshot ${stranger.slice(0, 128)} is not one of group ${id}`)
}
