import { CarbonadoError, type ErrorCode } from '../../base/index.ts'
import { PerfTier, Volume, VolumeAttachment } from '../../api/index.ts'
import { findObject, ignoreNotFound } from '../../store/index.ts'
import { isWithoutPlace, takeBack } from '../take-back.ts'
import { deviceSize } from '../volume-size.ts'
import { useProblem, wantedUse } from './capabilities.ts'
import { patienceOf, type ControllerContext } from './controller-context.ts'
import { CsiError } from './csi-errors.ts'
import type {
  ControllerExpandVolumeRequest,
  ControllerModifyVolumeRequest,
  CreateVolumeRequest,
  CsiVolume,
  VolumeIdRequest,
} from './csi-messages.ts'
import { checkMadeFor, isId } from './object-names.ts'
import { waitForObject } from './object-wait.ts'
import { readySource } from './sources.ts'
import { topologyOf } from './topology.ts'
import { checkParameters, checkSame, namedSource, tierOf, volumeOf, wantedSize } from './volume-request.ts'

/** A volume as orchestrators are told of it. */
export function csiVolume({ metadata: { name }, spec, status }: Volume): CsiVolume {
  const { source } = spec
  const contentSource =
    source === undefined
      ? undefined
      : 'snapshotName' in source
        ? { snapshot: { snapshotId: source.snapshotName } }
        : { volume: { volumeId: source.volumeName } }
  return {
    capacityBytes: status?.size ?? deviceSize(spec.size),
    volumeId: name,
    ...(contentSource ? { contentSource } : {}),
    accessibleTopology: (status?.plexes ?? []).map(({ nodeName }) => topologyOf(nodeName)),
  }
}

/** The volume of an id. Throws NOT_FOUND. */
export async function existingVolume({ store }: ControllerContext, volumeId: string): Promise<Volume> {
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no volume id')
  const volume = isId(volumeId) ? await findObject(store, Volume, { name: volumeId }) : undefined
  if (volume && !volume.metadata.deletionTimestamp) return volume
  throw new CsiError('NOT_FOUND', `there is no volume ${volumeId.slice(0, 128)}`)
}

/** Makes a volume, or finds the one that an earlier call of that name made; answers when it can be used. */
export async function createVolume(context: ControllerContext, request: CreateVolumeRequest): Promise<object> {
  const { store } = context
  const from = await readySource(context, namedSource(request.volumeContentSource))
  const wanted = volumeOf(request, from)
  await checkTierExists(context, wanted.spec.perfTierName)
  const { name } = wanted.metadata
  let existing = await findObject(store, Volume, { name })
  if (!existing) {
    existing = await store.create(Volume, wanted).catch((error: unknown) => whenTaken(error, context, name))
  }
  checkMadeFor(request.name, existing.metadata, 'volume')
  if (existing.metadata.deletionTimestamp) {
    throw new CsiError('ABORTED', `an earlier volume ${name} is still being deleted`, { remedy: 'Try again.' })
  }
  checkSame(existing, wanted, request)
  return { volume: csiVolume(await untilAvailable(context, existing)) }
}

/** Somebody else was faster, with the same name. */
async function whenTaken(error: unknown, { store }: ControllerContext, name: string): Promise<Volume> {
  const isTaken = error instanceof CarbonadoError && error.code === 'Conflict'
  const other = isTaken ? await findObject(store, Volume, { name }) : undefined
  if (other) return other
  throw error
}

async function checkTierExists({ store }: ControllerContext, name: string | undefined): Promise<void> {
  if (name === undefined || (isId(name) && (await findObject(store, PerfTier, { name })))) return
  throw new CsiError('INVALID_ARGUMENT', `perf-tier ${name.slice(0, 60)} does not exist`, {
    remedy: 'Choose one from `dctl perf-tier list`.',
  })
}

/** A volume that fits nowhere is taken back: the orchestrator may choose another node, and asks again by itself. */
async function untilAvailable(context: ControllerContext, { metadata: { name, uid } }: Volume): Promise<Volume> {
  const deadline = performance.now() + patienceOf(context)
  for (;;) {
    const left = Math.max(0, Math.ceil(deadline - performance.now()))
    const volume = await untilDecided(context, { name, uid }, left)
    if (!isWithoutPlace(volume)) return volume
    if (await takeBack(context.store, volume)) throw problemOf(volume)
  }
}

/** A volume once it is available, or refused. */
async function untilDecided(
  { store }: ControllerContext,
  { name, uid }: Volume['metadata'],
  patience: number,
): Promise<Volume> {
  let message = 'no news of it'
  const result = await waitForObject(store, Volume, name, patience, (volume) => {
    if (volume?.metadata.uid !== uid) throw new CsiError('ABORTED', `volume ${name} was deleted meanwhile`)
    const { status } = volume!
    if (status?.phase === 'Available' || isWithoutPlace(volume!)) return volume!
    message =
      status?.progress === undefined ? (status?.message ?? message) : `${Math.floor(status.progress * 100)} % copied`
    return undefined
  })
  if (result !== 'late') return result
  throw new CsiError('ABORTED', `volume ${name} is not there yet: ${message}`, { remedy: 'Try again; it goes on.' })
}

/** The error that the status of a volume tells of. */
function problemOf({ status }: Volume): CarbonadoError {
  const { code, message = 'it was refused', remedy } = status ?? {}
  return new CarbonadoError(code as ErrorCode, message, { remedy })
}

/** Deletes a volume; answers when nothing of it is left. */
export async function deleteVolume(context: ControllerContext, { volumeId }: VolumeIdRequest): Promise<object> {
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no volume id')
  const { store } = context
  const volume = isId(volumeId) ? await findObject(store, Volume, { name: volumeId }) : undefined
  if (!volume) return {}
  const { name, uid } = volume.metadata
  const attachment = await findObject(store, VolumeAttachment, { name })
  if (attachment?.spec.volumeUid === uid) {
    throw new CsiError('FAILED_PRECONDITION', `volume ${name} is attached to node ${attachment!.spec.nodeName}`, {
      remedy: 'Detach it first.',
    })
  }
  await store.delete(Volume, { name }, { uid }).catch(ignoreNotFound)
  let message = 'no news of it'
  const gone = await waitForObject(store, Volume, name, patienceOf(context), (left) => {
    message = left?.status?.message ?? message
    return left?.metadata.uid === uid ? undefined : {}
  })
  if (gone !== 'late') return {}
  throw new CsiError('ABORTED', `volume ${name} is not gone yet: ${message}`, { remedy: 'Try again; it goes on.' })
}

/** Enlarges the device of a volume, in use or not; one that has no room is left as it was. */
export async function expandVolume(
  context: ControllerContext,
  request: ControllerExpandVolumeRequest,
): Promise<object> {
  const { volumeId, capacityRange, volumeCapability } = request
  const use = volumeCapability ? wantedUse(volumeCapability) : undefined
  const volume = await existingVolume(context, volumeId)
  const problem = use ? useProblem(volume, use) : undefined
  if (problem !== undefined) throw new CsiError('INVALID_ARGUMENT', problem)
  if (!capacityRange) throw new CsiError('INVALID_ARGUMENT', 'the request has no capacity range')
  const has = volume.status?.size ?? deviceSize(volume.spec.size)
  const { requiredBytes, limitBytes } = capacityRange
  const asked = wantedSize({ requiredBytes: requiredBytes || has, limitBytes }, volume.spec.filesystem, undefined)
  if (limitBytes > 0 && has > limitBytes) {
    throw new CsiError('OUT_OF_RANGE', `volume ${volumeId} has ${has} bytes and does not shrink to ${limitBytes}`)
  }
  const size = Math.max(asked, has)
  if (deviceSize(volume.spec.size) < size) await setSize(context, volume, size)
  const answer = await untilGrown(context, volume, size)
  return { capacityBytes: answer, nodeExpansionRequired: volume.spec.filesystem !== undefined }
}

async function setSize({ store }: ControllerContext, { metadata: { name, uid } }: Volume, size: number): Promise<void> {
  await store.patch(Volume, { name }, { metadata: { uid }, spec: { size } })
}

async function untilGrown(
  context: ControllerContext,
  { metadata: { name, uid } }: Volume,
  size: number,
): Promise<number> {
  let message = 'no news of it'
  const result = await waitForObject(
    context.store,
    Volume,
    name,
    patienceOf(context),
    (now): { size: number } | { refused: CarbonadoError; back?: number } | undefined => {
      if (now?.metadata.uid !== uid) throw new CsiError('NOT_FOUND', `volume ${name} was deleted meanwhile`)
      const { status, metadata } = now!
      const there = Math.max(status?.size ?? 0, status?.deviceSize ?? 0)
      if (there >= size) return { size: there }
      const isJudged = status?.code !== undefined && status.generation >= (metadata.generation ?? 0)
      if (isJudged) return { refused: problemOf(now!), back: status.size }
      message = status?.message ?? message
      return undefined
    },
  )
  if (result === 'late') throw new CsiError('ABORTED', `volume ${name} has not grown yet: ${message}`)
  if ('size' in result) return result.size
  await setSize(context, { metadata: { name, uid } } as Volume, result.back!)
  const { message: reason, remedy } = result.refused
  throw new CsiError('OUT_OF_RANGE', reason, { remedy })
}

/** Changes the tier of a volume while it is used; one that does not fit is left with the tier it had. */
export async function modifyVolume(
  context: ControllerContext,
  request: ControllerModifyVolumeRequest,
): Promise<object> {
  const { volumeId, mutableParameters } = request
  const volume = await existingVolume(context, volumeId)
  checkParameters(mutableParameters, ['perfTier'])
  const tier = tierOf({}, mutableParameters)
  if (tier === undefined) return {}
  await checkTierExists(context, tier)
  const { name, uid } = volume.metadata
  const setTier = (perfTierName: string | null): Promise<Volume> =>
    context.store.patch(Volume, { name }, { metadata: { uid }, spec: { perfTierName } })
  if (volume.spec.perfTierName !== tier) await setTier(tier)
  const result = await waitForObject(context.store, Volume, name, patienceOf(context), (now) => {
    if (now?.metadata.uid !== uid) throw new CsiError('NOT_FOUND', `volume ${name} was deleted meanwhile`)
    const { status, metadata } = now!
    if ((status?.generation ?? -1) < (metadata.generation ?? 0)) return undefined
    if (status?.perfTierName === tier) return { done: true }
    return status?.code === undefined ? undefined : { refused: problemOf(now!) }
  })
  if (result === 'late') throw new CsiError('ABORTED', `volume ${name} does not have tier ${tier} yet`)
  if ('done' in result) return {}
  await setTier(volume.status?.perfTierName ?? null)
  throw result.refused
}
