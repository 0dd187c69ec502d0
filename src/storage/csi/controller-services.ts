import { publishVolume, unpublishVolume } from './attachment-service.ts'
import type { ControllerContext } from './controller-context.ts'
import type { CsiMethod, CsiService } from './csi-server.ts'
import { getCapacity, getVolume, listVolumes, validateCapabilities } from './listing-service.ts'
import {
  createGroupSnapshot,
  createSnapshot,
  deleteGroupSnapshot,
  deleteSnapshot,
  getGroupSnapshot,
  getSnapshot,
  listSnapshots,
} from './snapshot-service.ts'
import { createVolume, deleteVolume, expandVolume, modifyVolume } from './volume-service.ts'

const controllerCapabilities = [
  'CREATE_DELETE_VOLUME',
  'PUBLISH_UNPUBLISH_VOLUME',
  'LIST_VOLUMES',
  'GET_CAPACITY',
  'CREATE_DELETE_SNAPSHOT',
  'LIST_SNAPSHOTS',
  'CLONE_VOLUME',
  'PUBLISH_READONLY',
  'EXPAND_VOLUME',
  'LIST_VOLUMES_PUBLISHED_NODES',
  'VOLUME_CONDITION',
  'GET_VOLUME',
  'SINGLE_NODE_MULTI_WRITER',
  'MODIFY_VOLUME',
  'GET_SNAPSHOT',
]

/** The Controller and GroupController services; each call is a change or a look at objects in the store. */
export function controllerServices(context: ControllerContext): CsiService[] {
  const bind =
    <R>(run: (context: ControllerContext, request: R) => Promise<object>) =>
    (request: R): Promise<object> =>
      run(context, request)
  const controller: Record<string, CsiMethod> = {
    CreateVolume: bind(createVolume),
    DeleteVolume: bind(deleteVolume),
    ControllerPublishVolume: bind(publishVolume),
    ControllerUnpublishVolume: bind(unpublishVolume),
    ValidateVolumeCapabilities: bind(validateCapabilities),
    ListVolumes: bind(listVolumes),
    GetCapacity: bind(getCapacity),
    ControllerGetCapabilities: () => rpcCapabilities(controllerCapabilities),
    CreateSnapshot: bind(createSnapshot),
    DeleteSnapshot: bind(deleteSnapshot),
    ListSnapshots: bind(listSnapshots),
    GetSnapshot: bind(getSnapshot),
    ControllerExpandVolume: bind(expandVolume),
    ControllerGetVolume: bind(getVolume),
    ControllerModifyVolume: bind(modifyVolume),
  }
  const groups: Record<string, CsiMethod> = {
    GroupControllerGetCapabilities: () => rpcCapabilities(['CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT']),
    CreateVolumeGroupSnapshot: bind(createGroupSnapshot),
    DeleteVolumeGroupSnapshot: bind(deleteGroupSnapshot),
    GetVolumeGroupSnapshot: bind(getGroupSnapshot),
  }
  return [
    { name: 'Controller', methods: controller },
    { name: 'GroupController', methods: groups },
  ]
}

/** Capabilities of a service as its capability call answers them. */
export function rpcCapabilities(types: string[]): object {
  return { capabilities: types.map((type) => ({ rpc: { type } })) }
}
