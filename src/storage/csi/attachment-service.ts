import { apiVersionOf, Node, Volume, VolumeAttachment, volumeAttachmentFinalizer } from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import { findObject, isNotFound } from '../../store/index.ts'
import { useProblem, wantedUse } from './capabilities.ts'
import { patienceOf, type ControllerContext } from './controller-context.ts'
import { CsiError } from './csi-errors.ts'
import type { ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest } from './csi-messages.ts'
import { isId } from './object-names.ts'
import { waitForObject } from './object-wait.ts'
import { existingVolume } from './volume-service.ts'

/** Volumes that one node uses at most: that many devices were tried together. */
const mostVolumes = 256

/** How many volumes may be used on a node at one time. */
export function maximumVolumesOf({ spec }: Node): number {
  return spec.maximumVolumes ?? mostVolumes
}

/**
 * Gives a node the right to use a volume: the VolumeAttachment of its name, which exists once, so no other node has it at
 * the same time. The node makes the device when it stages the volume.
 */
export async function publishVolume(
  context: ControllerContext,
  request: ControllerPublishVolumeRequest,
): Promise<object> {
  const { store } = context
  const { volumeId, nodeId, volumeCapability } = request
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no volume id')
  if (nodeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no node id')
  const use = wantedUse(volumeCapability)
  const volume = await existingVolume(context, volumeId)
  const node = isId(nodeId) ? await findObject(store, Node, { name: nodeId }) : undefined
  if (!node) throw new CsiError('NOT_FOUND', `there is no node ${nodeId.slice(0, 128)}`)
  const problem = useProblem(volume, use)
  if (problem !== undefined) throw new CsiError('INVALID_ARGUMENT', problem)
  const readOnly = request.readonly || use.mode === 'SINGLE_NODE_READER_ONLY'
  const existing = await findObject(store, VolumeAttachment, { name: volumeId })
  if (existing) checkSame(existing, nodeId, readOnly)
  else await create(context, volume, node, readOnly)
  return { publishContext: { readOnly: String(readOnly), filesystem: volume.spec.filesystem ?? '' } }
}

function checkSame({ metadata, spec }: VolumeAttachment, nodeName: string, readOnly: boolean): void {
  const { name, deletionTimestamp } = metadata
  if (deletionTimestamp) {
    throw new CsiError('ABORTED', `volume ${name} is still being detached from node ${spec.nodeName}`, {
      remedy: 'Try again.',
    })
  }
  if (spec.nodeName !== nodeName) {
    throw new CsiError('FAILED_PRECONDITION', `volume ${name} is attached to node ${spec.nodeName}`, {
      remedy: 'Stop what uses it there.',
    })
  }
  if (spec.readOnly === readOnly) return
  const way = spec.readOnly ? 'read-only' : 'for reading and writing'
  throw new CsiError('ALREADY_EXISTS', `volume ${name} is attached to node ${nodeName} ${way}`)
}

async function create(
  context: ControllerContext,
  { metadata: { name, uid } }: Volume,
  node: Node,
  readOnly: boolean,
): Promise<void> {
  const { store } = context
  const nodeName = node.metadata.name
  const { items } = await store.list(VolumeAttachment, { fieldSelector: `spec.nodeName=${nodeName}` })
  if (items.length >= maximumVolumesOf(node)) {
    throw new CsiError('RESOURCE_EXHAUSTED', `node ${nodeName} uses ${items.length} volumes, the most it can`, {
      remedy: 'Use the volume on another node, or stop what uses others there.',
    })
  }
  try {
    await store.create(VolumeAttachment, {
      apiVersion: apiVersionOf(VolumeAttachment),
      kind: VolumeAttachment.kind,
      metadata: { name, finalizers: [volumeAttachmentFinalizer] },
      spec: { volumeName: name, volumeUid: uid!, nodeName, readOnly },
    })
  } catch (error) {
    const other = await findObject(store, VolumeAttachment, { name })
    if (!(error instanceof CarbonadoError) || error.code !== 'Conflict' || !other) throw error
    checkSame(other, nodeName, readOnly)
  }
}

/** Takes the right back; answers when the node has removed the device, so never while something uses it there. */
export async function unpublishVolume(
  context: ControllerContext,
  { volumeId, nodeId }: ControllerUnpublishVolumeRequest,
): Promise<object> {
  const { store } = context
  if (volumeId === '') throw new CsiError('INVALID_ARGUMENT', 'the request has no volume id')
  const attachment = isId(volumeId) ? await findObject(store, VolumeAttachment, { name: volumeId }) : undefined
  if (!attachment || (nodeId !== '' && attachment.spec.nodeName !== nodeId)) return {}
  const { name, uid, deletionTimestamp } = attachment.metadata
  if (!deletionTimestamp) {
    await store.delete(VolumeAttachment, { name }, { uid }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error
    })
  }
  let message = `no news of node ${attachment.spec.nodeName}`
  const gone = await waitForObject(store, VolumeAttachment, name, patienceOf(context), (left) => {
    message = left?.status?.message ?? message
    return left?.metadata.uid === uid ? undefined : {}
  })
  if (gone !== 'late') return {}
  throw new CsiError('ABORTED', `volume ${name} is still attached to node ${attachment.spec.nodeName}: ${message}`, {
    remedy: 'It is detached as soon as nothing uses it and the agent of that node runs.',
  })
}
