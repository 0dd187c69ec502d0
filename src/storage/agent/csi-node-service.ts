import { CarbonadoError, Conflict, NotFound } from '../../base/index.ts'
import type { FilesystemType } from '../../api/index.ts'
import type { VolumePublisher } from './publish/index.ts'
import type { AttachedDevice } from './attached-volumes.ts'
import { wantedUse, type WantedUse } from '../csi/capabilities.ts'
import { rpcCapabilities } from '../csi/controller-services.ts'
import { CsiError } from '../csi/csi-errors.ts'
import type {
  NodeExpandVolumeRequest,
  NodeGetVolumeStatsRequest,
  NodePublishVolumeRequest,
  NodeStageVolumeRequest,
  NodeUnpublishVolumeRequest,
  NodeUnstageVolumeRequest,
  VolumeUsage,
} from '../csi/csi-messages.ts'
import type { CsiService } from '../csi/csi-server.ts'
import { isId } from '../csi/object-names.ts'
import { topologyOf } from '../csi/topology.ts'

/** What the Node service needs of this node. */
export interface NodeStorage {
  nodeName: string
  /** How many volumes may be used on this node at one time. Throws Unavailable while that cannot be asked. */
  maximumVolumes: () => Promise<number>
  publisher: VolumePublisher
  /** The device of a volume that is attached to this node; waits for it. Throws NotFound, Conflict, Unavailable. */
  attachedDevice: (volumeName: string) => Promise<AttachedDevice>
}

const nodeCapabilities = [
  'STAGE_UNSTAGE_VOLUME',
  'GET_VOLUME_STATS',
  'EXPAND_VOLUME',
  'VOLUME_CONDITION',
  'SINGLE_NODE_MULTI_WRITER',
]

/** The Node service: what orchestrators ask of the node on which a container runs. */
export function nodeService(node: NodeStorage): CsiService {
  return {
    name: 'Node',
    methods: {
      NodeGetInfo: async () => ({
        nodeId: node.nodeName,
        maxVolumesPerNode: await node.maximumVolumes(),
        accessibleTopology: topologyOf(node.nodeName),
      }),
      NodeGetCapabilities: () => rpcCapabilities(nodeCapabilities),
      NodeStageVolume: (request: NodeStageVolumeRequest) => stage(node, request),
      NodeUnstageVolume: (request: NodeUnstageVolumeRequest) => unstage(node, request),
      NodePublishVolume: (request: NodePublishVolumeRequest) => publish(node, request),
      NodeUnpublishVolume: (request: NodeUnpublishVolumeRequest) => unpublish(node, request),
      NodeGetVolumeStats: (request: NodeGetVolumeStatsRequest) => stats(node, request),
      NodeExpandVolume: (request: NodeExpandVolumeRequest) => expand(node, request),
    },
  }
}

async function stage(node: NodeStorage, request: NodeStageVolumeRequest): Promise<object> {
  const { volumeId, stagingTargetPath } = request
  requireId(volumeId)
  requirePath(stagingTargetPath, 'staging target path')
  const use = wantedUse(request.volumeCapability)
  const attached = await node.attachedDevice(volumeId)
  const problem = useProblem(volumeId, use, attached.filesystem)
  if (problem !== undefined) throw new CsiError('INVALID_ARGUMENT', problem)
  const { volumeUid, device, filesystem } = attached
  await asCsi(
    node.publisher.stage({
      volumeName: volumeId,
      volumeUid,
      device,
      access: use.access,
      ...(filesystem ? { filesystem } : {}),
      readOnly: attached.readOnly || use.mode === 'SINGLE_NODE_READER_ONLY',
      stagingPath: plainPath(stagingTargetPath),
      mountFlags: use.mountFlags,
    }),
  )
  return {}
}

function useProblem(name: string, use: WantedUse, has: FilesystemType | undefined): string | undefined {
  if (use.access === 'block' && has) return `volume ${name} has a filesystem (${has}) and is not used as a block device`
  if (use.access === 'mount' && !has) return `volume ${name} is a raw block device and cannot be mounted`
  return use.filesystem && use.filesystem !== has ? `volume ${name} has ${has}, not ${use.filesystem}` : undefined
}

async function unstage({ publisher }: NodeStorage, request: NodeUnstageVolumeRequest): Promise<object> {
  requireId(request.volumeId)
  requirePath(request.stagingTargetPath, 'staging target path')
  await asCsi(publisher.unstage(request.volumeId, plainPath(request.stagingTargetPath)))
  return {}
}

async function publish({ publisher }: NodeStorage, request: NodePublishVolumeRequest): Promise<object> {
  const { volumeId, stagingTargetPath, targetPath, readonly } = request
  requireId(volumeId)
  requirePath(targetPath, 'target path')
  const { access, mode } = wantedUse(request.volumeCapability)
  if (stagingTargetPath === '') {
    throw new CsiError('FAILED_PRECONDITION', 'the request has no staging target path', { remedy: 'Stage it first.' })
  }
  await asCsi(
    publisher.publish({
      volumeName: volumeId,
      stagingPath: plainPath(stagingTargetPath),
      targetPath: plainPath(targetPath),
      access,
      readOnly: readonly || mode === 'SINGLE_NODE_READER_ONLY',
      isExclusive: mode === 'SINGLE_NODE_SINGLE_WRITER',
    }),
  )
  return {}
}

async function unpublish({ publisher }: NodeStorage, request: NodeUnpublishVolumeRequest): Promise<object> {
  requireId(request.volumeId)
  requirePath(request.targetPath, 'target path')
  await asCsi(publisher.unpublish(request.volumeId, plainPath(request.targetPath)))
  return {}
}

async function stats({ publisher }: NodeStorage, request: NodeGetVolumeStatsRequest): Promise<object> {
  const { volumeId, volumePath } = request
  requireId(volumeId)
  requirePath(volumePath, 'volume path')
  const { bytes, inodes, problem } = await publisher.use(volumeId, plainPath(volumePath))
  const usage: VolumeUsage[] = [
    { unit: 'BYTES', ...bytes },
    ...(inodes ? [{ unit: 'INODES' as const, ...inodes }] : []),
  ]
  return { usage, volumeCondition: { abnormal: problem !== undefined, message: problem ?? 'it is well' } }
}

async function expand({ publisher }: NodeStorage, request: NodeExpandVolumeRequest): Promise<object> {
  const { volumeId, volumePath, capacityRange } = request
  requireId(volumeId)
  requirePath(volumePath, 'volume path')
  const use = request.volumeCapability ? wantedUse(request.volumeCapability) : undefined
  const path = plainPath(volumePath)
  const known = publisher.published(volumeId)
  if (!known || (path !== known.stagingPath && !known.targetPaths.includes(path))) {
    throw new CsiError('NOT_FOUND', `volume ${volumeId} is not in use at that path`)
  }
  const size = await asCsi(publisher.expand(volumeId))
  const { requiredBytes = 0, limitBytes = 0 } = capacityRange ?? {}
  if (requiredBytes > size || (limitBytes > 0 && limitBytes < size)) {
    throw new CsiError(
      'OUT_OF_RANGE',
      `the device of volume ${volumeId} has ${size} bytes, which is not as asked for`,
      {
        remedy: `Expand the volume at the controller first${use?.access === 'block' ? '' : '; its filesystem follows'}.`,
      },
    )
  }
  return { capacityBytes: size }
}

/** The one place where a staged or published volume that differs from what is asked gets the code that CSI wants. */
async function asCsi<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof CarbonadoError) || !(error instanceof Conflict)) throw error
    if (error.details.isOtherwise !== true) throw error
    throw new CsiError('ALREADY_EXISTS', error.message, { remedy: error.remedy, cause: error })
  }
}

function requireId(volumeId: string): void {
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no volume id')
  if (!isId(volumeId)) throw new NotFound(`there is no volume ${volumeId.slice(0, 128)}`)
}

function requirePath(path: string, what: string): void {
  if (path === '') throw new CsiError('INVALID_ARGUMENT', `the request has no ${what}`)
}

/** One slash at the end means the same. */
function plainPath(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}
