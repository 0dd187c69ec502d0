import {
  Drive,
  PerfTier,
  Plex,
  Volume,
  VolumeAttachment,
  type KindDefinition,
  type KubeObject,
} from '../../api/index.ts'
import { fit, iopsRates } from '../../guarantee/index.ts'
import { findObject, type ResourceStore } from '../../store/index.ts'
import { leastVolumeSize } from '../volume-size.ts'
import { capabilityProblem, useProblem, wantedUse } from './capabilities.ts'
import type { ControllerContext } from './controller-context.ts'
import { CsiError } from './csi-errors.ts'
import type {
  GetCapacityRequest,
  Paging,
  ValidateVolumeCapabilitiesRequest,
  VolumeCondition,
  VolumeIdRequest,
  VolumeStatus,
} from './csi-messages.ts'
import { pageOf } from './paging.ts'
import { nodeOfTopology } from './topology.ts'
import { tierOf } from './volume-request.ts'
import { csiVolume, existingVolume } from './volume-service.ts'

/** Objects that are read in one request. */
const pageSize = 500

/** All objects of a kind. */
export async function listAll<T extends KubeObject>(store: ResourceStore, kind: KindDefinition<T>): Promise<T[]> {
  const all: T[] = []
  let token: string | undefined
  do {
    const page = await store.list(kind, { limit: pageSize, ...(token ? { continue: token } : {}) })
    all.push(...page.items)
    token = page.continue
  } while (token)
  return all
}

/** Whether something is wrong with a volume, in words. */
export function conditionOf({ spec, status }: Volume, plex: Plex | undefined): VolumeCondition {
  const { phase = 'Pending', message, deviceSize } = status ?? {}
  if (plex?.status?.state === 'Down')
    return { abnormal: true, message: plex.status.message ?? 'its data cannot be read' }
  if (phase !== 'Available') return { abnormal: phase === 'Pending', message: message ?? `it is ${phase}` }
  if (deviceSize !== undefined) {
    return { abnormal: false, message: message ?? 'its filesystem grows when it is next staged' }
  }
  return { abnormal: false, message: message ?? (spec.filesystem ? 'it is well' : 'the device is well') }
}

async function statusOf({ store }: ControllerContext, volume: Volume): Promise<VolumeStatus> {
  const { name } = volume.metadata
  const [attachment, plex] = await Promise.all([
    findObject(store, VolumeAttachment, { name }),
    findObject(store, Plex, { name: volume.status?.plexes[0]?.name ?? `${name}.p0` }),
  ])
  return {
    publishedNodeIds: attachment ? [attachment.spec.nodeName] : [],
    volumeCondition: conditionOf(volume, plex),
  }
}

/** One volume with the nodes that use it and how it is. */
export async function getVolume(context: ControllerContext, { volumeId }: VolumeIdRequest): Promise<object> {
  const volume = await existingVolume(context, volumeId)
  return { volume: csiVolume(volume), status: await statusOf(context, volume) }
}

/** All volumes, a page at a time. */
export async function listVolumes({ store }: ControllerContext, request: Paging): Promise<object> {
  const [volumes, attachments, plexes] = await Promise.all([
    listAll(store, Volume),
    listAll(store, VolumeAttachment),
    listAll(store, Plex),
  ])
  const users = new Map(attachments.map(({ spec }) => [spec.volumeUid, spec.nodeName]))
  const plexOf = new Map(plexes.map((plex) => [plex.spec.volumeUid, plex]))
  const there = volumes.filter(({ status, metadata }) => status?.plexes.length && !metadata.deletionTimestamp)
  const { entries, nextToken } = pageOf(there, ({ metadata }) => metadata.name, request)
  return {
    entries: entries.map((volume) => {
      const { uid } = volume.metadata
      const node = users.get(uid!)
      const volumeCondition = conditionOf(volume, plexOf.get(uid!))
      return { volume: csiVolume(volume), status: { publishedNodeIds: node ? [node] : [], volumeCondition } }
    }),
    nextToken,
  }
}

/** Whether a volume can be used in all the ways that are asked about. */
export async function validateCapabilities(
  context: ControllerContext,
  request: ValidateVolumeCapabilitiesRequest,
): Promise<object> {
  const { volumeId, volumeCapabilities, volumeContext, parameters, mutableParameters } = request
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no volume id')
  if (volumeCapabilities.length === 0) throw new CsiError('INVALID_ARGUMENT', 'the request has no volume capabilities')
  const volume = await existingVolume(context, volumeId)
  for (const capability of volumeCapabilities) {
    const message = capabilityProblem(capability) ?? useProblem(volume, wantedUse(capability))
    if (message !== undefined) return { message }
  }
  const tier = tierOf(parameters, mutableParameters)
  if (tier !== undefined && tier !== volume.spec.perfTierName) {
    return { message: `the tier of the volume is ${volume.spec.perfTierName ?? 'none'}, not ${tier}` }
  }
  return { confirmed: { volumeContext, volumeCapabilities, parameters, mutableParameters } }
}

/** What new volumes of a tier can still take: in all, and the largest one. */
export async function getCapacity({ store }: ControllerContext, request: GetCapacityRequest): Promise<object> {
  const nodeName = nodeOfTopology(request.accessibleTopology)
  const use = request.volumeCapabilities.map(wantedUse)[0]
  const least = leastVolumeSize(use?.access === 'block' ? undefined : (use?.filesystem ?? 'ext4'))
  const minimum = { minimumVolumeSize: { value: least } }
  const isElsewhere = request.accessibleTopology !== null && nodeName === undefined
  const tierName = tierOf(request.parameters, {})
  const tier = tierName === undefined ? undefined : await findObject(store, PerfTier, { name: tierName })
  if (isElsewhere || (tierName !== undefined && !tier)) {
    return { availableCapacity: 0, maximumVolumeSize: { value: 0 }, ...minimum }
  }
  const iops = iopsRates(tier).iopsFloor
  const drives = (await listAll(store, Drive)).filter(
    ({ spec }) => nodeName === undefined || spec.nodeName === nodeName,
  )
  const left = drives.map((drive) => spaceLeft(drive, iops))
  return {
    availableCapacity: left.reduce((sum, each) => sum + each, 0),
    maximumVolumeSize: { value: Math.max(0, ...left) },
    ...minimum,
  }
}

/** Bytes, whole MiB, that a volume with this floor can have on a drive. */
function spaceLeft({ status }: Drive, iops: number): number {
  const { agent, capacity } = status ?? {}
  if (agent?.state !== 'Ready' || !capacity) return 0
  const none = { bandwidth: 0, interfaces: 0, space: 0 }
  const [promised, total] = [capacity.iops.promised, capacity.iops.total]
  const doesFit = fit(
    { ...none, iops },
    { promised: { ...none, iops: promised }, total: { ...none, iops: total } },
  ).fits
  const bytes = capacity.space.total - capacity.space.promised
  return doesFit ? Math.max(0, Math.floor(bytes / 2 ** 20) * 2 ** 20) : 0
}
