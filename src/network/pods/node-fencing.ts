import { apiVersionOf, Node, type Endpoint, type KubernetesNode } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import type { EventRecorder, Informer, ResourceStore } from '../../store/index.ts'
import { giveBack } from '../give-back.ts'

/** With this taint an administrator of Kubernetes states that a node is shut down and stays so. */
const outOfServiceTaint = 'node.kubernetes.io/out-of-service'

/** What fencing works with. */
export interface NodeFencingParts {
  store: ResourceStore
  nodes: Informer<Node>
  kubernetesNodes: Informer<KubernetesNode>
  endpointsOn: (nodeName: string) => Endpoint[]
  recorder: EventRecorder
}

/**
 * Whether what a node holds may be given to others: it was stated that the node is off, and its agent does not prove the
 * contrary. A node that is only silent, or gone from Kubernetes, may still send.
 */
export function isOff(target: KubernetesNode | undefined, node: Node): boolean {
  const isStated = target?.spec?.taints?.some(({ key }) => key === outOfServiceTaint) ?? false
  const { ready } = node.status ?? {}
  return isStated && ready?.state === false && ready.reason !== 'UplinkDown'
}

/** Gives back what a node held that is off, so that its static endpoints and addresses can be used elsewhere. */
export class NodeFencing {
  readonly #parts: NodeFencingParts

  constructor(parts: NodeFencingParts) {
    this.#parts = parts
  }

  /** Looks at one node by its name. */
  async reconcile(name: string): Promise<ReconcileResult> {
    const { store, nodes, kubernetesNodes, endpointsOn, recorder } = this.#parts
    const node = nodes.get({ name })
    const endpoints = node && isOff(kubernetesNodes.get({ name }), node) ? endpointsOn(name) : []
    if (endpoints.length === 0) return { done: true }
    await Promise.all(endpoints.map((endpoint) => giveBack(store, endpoint)))
    const { uid } = node!.metadata
    const note = `The node is stated to be out of service: ${endpoints.length} endpoints of it can be used elsewhere.`
    const regarding = { apiVersion: apiVersionOf(Node), kind: Node.kind, name, ...(uid ? { uid } : {}) }
    recorder.record({ regarding, type: 'Normal', reason: 'EndpointsGivenBack', action: 'Fence', note })
    return { done: true }
  }
}
