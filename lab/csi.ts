import { Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js'
import { Unavailable } from '../src/base/index.ts'
import { csiDefinition } from '../src/storage/csi/index.ts'
import { nodePlaces } from './places.ts'
import { machinePid } from './state.ts'

/** How a pod uses a volume. */
export interface PublishedVolume {
  name: string
  /** Paths on the node, as kubelet chooses them. */
  stagingPath: string
  targetPath: string
  isBlock: boolean
}

type Calls = Record<string, (request: object, answer: (error: ServiceError | null, response: object) => void) => void>

/** A connection to the CSI socket of a node, through which the lab calls as kubelet and the sidecars do. */
class CsiConnection implements Disposable {
  readonly #clients: Record<'Controller' | 'Node', Client>
  readonly #node: string

  constructor(node: string) {
    this.#node = node
    const address = `unix:///proc/${machinePid(node)}/root${nodePlaces.csiSocket}`
    const loaded = loadPackageDefinition(csiDefinition()) as unknown as {
      csi: { v1: Record<'Controller' | 'Node', new (address: string, how: unknown) => Client> }
    }
    const connect = (service: 'Controller' | 'Node'): Client =>
      new loaded.csi.v1[service](address, credentials.createInsecure())
    this.#clients = { Controller: connect('Controller'), Node: connect('Node') }
  }

  /** Calls `Controller...` of the one service and `Node...` of the other. Throws Unavailable with what the answer says. */
  call(method: string, request: object): Promise<object> {
    const client = this.#clients[method.startsWith('Node') ? 'Node' : 'Controller']
    return new Promise((resolve, reject) =>
      (client as unknown as Calls)[method]!.call(client, request, (error, response) => {
        if (!error) return resolve(response)
        reject(
          new Unavailable(`${method} on node ${this.#node}: ${error.details}`, { remedy: 'See the log of its agent.' }),
        )
      }),
    )
  }

  [Symbol.dispose](): void {
    for (const client of Object.values(this.#clients)) client.close()
  }
}

/** Attaches a volume, stages and publishes it for a pod, in kubelet's order. */
export async function publishVolume(node: string, volume: PublishedVolume): Promise<void> {
  using csi = new CsiConnection(node)
  const { name: volumeId, stagingPath: stagingTargetPath, targetPath, isBlock } = volume
  const access = isBlock ? { block: {} } : { mount: { fsType: '', mountFlags: [], volumeMountGroup: '' } }
  const volumeCapability = { ...access, accessMode: { mode: 'SINGLE_NODE_WRITER' } }
  await csi.call('ControllerPublishVolume', { volumeId, nodeId: node, volumeCapability, readonly: false })
  await csi.call('NodeStageVolume', { volumeId, stagingTargetPath, volumeCapability })
  await csi.call('NodePublishVolume', { volumeId, stagingTargetPath, targetPath, volumeCapability, readonly: false })
}

/** Takes a volume back from a pod; what was never done, or undone before, is passed over. */
export async function unpublishVolume(node: string, volume: PublishedVolume): Promise<void> {
  using csi = new CsiConnection(node)
  const { name: volumeId, stagingPath: stagingTargetPath, targetPath } = volume
  await csi.call('NodeUnpublishVolume', { volumeId, targetPath })
  await csi.call('NodeUnstageVolume', { volumeId, stagingTargetPath })
  await csi.call('ControllerUnpublishVolume', { volumeId, nodeId: node })
}
