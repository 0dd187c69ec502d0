import {
  bandwidthResource,
  interfacesResource,
  KubernetesNode,
  kubernetesQuantity,
  type Endpoint,
  type Node,
  type Pod,
} from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import { nodeTotals } from '../../guarantee/index.ts'
import { ignoreNotFound, type Informer, type ResourceStore } from '../../store/index.ts'
import { promisedTo } from '../controllers/allocation.ts'
import { requestedBy } from './pod-resources.ts'

/** Interfaces as a count, bandwidth in bits per second. */
export interface PodShare {
  interfaces: number
  bandwidth: number
}

/** The pod that an endpoint belongs to, by its uid; undefined for what no pod has, such as a container of the lab. */
function podUidOf({ metadata, spec }: Endpoint): string | undefined {
  return spec.holder?.pod?.uid ?? metadata.ownerReferences?.find(({ kind }) => kind === 'Pod')?.uid
}

/** Whether the scheduler of Kubernetes still counts the requests of a pod. */
export function isCounted({ status }: Pod): boolean {
  return status?.phase !== 'Succeeded' && status?.phase !== 'Failed'
}

/**
 * What a node has for the pods that request it: all that can be promised there, less what is promised and not covered
 * by the request of a pod, such as an endpoint whose pod is gone, or whose tier was raised since; a pure function.
 */
export function publishedShare(total: PodShare, endpoints: Endpoint[], pods: Pod[]): PodShare {
  const covered = new Map(pods.filter(isCounted).map((pod) => [pod.metadata.uid, requestedBy(pod)]))
  const held = new Map<string | undefined, PodShare>()
  for (const endpoint of endpoints) {
    const promised = promisedTo(endpoint)
    if (!promised) continue
    const uid = podUidOf(endpoint)
    const sum = held.get(uid) ?? { interfaces: 0, bandwidth: 0 }
    held.set(uid, { interfaces: sum.interfaces + 1, bandwidth: sum.bandwidth + promised.amounts.bandwidth })
  }
  const left = { ...total }
  for (const [uid, { interfaces, bandwidth }] of held) {
    const own = (uid === undefined ? undefined : covered.get(uid)) ?? { interfaces: 0, bandwidth: 0 }
    left.interfaces -= Math.max(0, interfaces - own.interfaces)
    left.bandwidth -= Math.max(0, bandwidth - own.bandwidth)
  }
  return { interfaces: Math.max(0, left.interfaces), bandwidth: Math.max(0, left.bandwidth) }
}

/** What the published resources of nodes are reckoned from. */
export interface NodeResourcesParts {
  store: ResourceStore
  nodes: Informer<Node>
  kubernetesNodes: Informer<KubernetesNode>
  endpointsOn: (nodeName: string) => Endpoint[]
  podsOn: (nodeName: string) => Pod[]
}

/**
 * Publishes on Kubernetes' nodes what the scheduler accounts with: `carbonado.io/interfaces` and
 * `carbonado.io/bandwidth`. Kubelet keeps them, but for a node that comes back from a reboot, which gets them again.
 */
export class NodeResources {
  readonly #parts: NodeResourcesParts

  constructor(parts: NodeResourcesParts) {
    this.#parts = parts
  }

  /** Brings one node's resources up to date, by its name. */
  async reconcile(name: string): Promise<ReconcileResult> {
    const { store, nodes, kubernetesNodes, endpointsOn, podsOn } = this.#parts
    const [node, target] = [nodes.get({ name }), kubernetesNodes.get({ name })]
    if (!node || !target) return { done: true }
    const { interfaces, bandwidth } = publishedShare(nodeTotals(node), endpointsOn(name), podsOn(name))
    const wanted = { [interfacesResource]: interfaces, [bandwidthResource]: bandwidth }
    if (isPublished(target, wanted)) return { done: true }
    const texts = Object.fromEntries(Object.entries(wanted).map(([key, amount]) => [key, String(amount)]))
    const patch = { status: { capacity: texts, allocatable: texts } }
    await store.patch(KubernetesNode, { name }, patch, { subresource: 'status' }).catch(ignoreNotFound)
    return { done: true }
  }
}

/** The API server writes 500000000 as 500M; what cannot be read is not what was published. */
function isPublished({ status }: KubernetesNode, wanted: Record<string, number>): boolean {
  return [status?.capacity, status?.allocatable].every((published) =>
    Object.entries(wanted).every(([name, amount]) => kubernetesQuantity(published?.[name]) === amount),
  )
}
