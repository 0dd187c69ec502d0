import {
  AddressClaim,
  bandwidthResource,
  Drive,
  Endpoint,
  interfacesResource,
  KubernetesNode,
  kubernetesQuantity,
  Network,
  Node,
  type Pod,
} from '../../../api/index.ts'
import { isCounted, networkDemandOf, requestedBy, type PodShare } from '../../../network/pods/index.ts'
import { volumeDemandsOf } from '../../../storage/pods/index.ts'
import { InformerIndex, type SyncReader } from '../../../store/index.ts'
import type { ObjectCache } from '../object-cache.ts'
import type { NodeFacts, PodDemand } from './decision.ts'

/** Milliseconds. */
const factsAge = 500

/** Pods by the name of their node, and endpoints by the uid of the pod that they belong to. */
interface IndicesOfPods {
  podsOnNode: InformerIndex<Pod>
  endpointsOfPod: InformerIndex<Endpoint>
}

/** Looks up what decisions about pods are made from, in the copies of a cache. */
export class SchedulingFacts {
  readonly #reader: SyncReader
  readonly #claimsOfNetwork: InformerIndex<AddressClaim>
  readonly #endpointsOfNetwork: InformerIndex<Endpoint>
  readonly #drivesOnNode: InformerIndex<Drive>
  readonly #indices: IndicesOfPods
  #nodes: { at: number; facts: NodeFacts[] } | undefined

  constructor(cache: ObjectCache, indices: IndicesOfPods) {
    this.#reader = cache
    this.#claimsOfNetwork = new InformerIndex(cache.informerOf(AddressClaim), ({ spec }) => spec.networkName)
    this.#endpointsOfNetwork = new InformerIndex(cache.informerOf(Endpoint), ({ spec }) => spec.networkName)
    this.#drivesOnNode = new InformerIndex(cache.informerOf(Drive), ({ spec }) => spec.nodeName)
    this.#indices = indices
  }

  /** What a pod needs. Throws as networkDemandOf. */
  demandOf(pod: Pod): PodDemand {
    const network = networkDemandOf(pod, this.#reader)
    const networks = network.networkNames.flatMap((name) => this.#reader.get(Network, { name }) ?? [])
    const own = this.#indices.endpointsOfPod.of(pod.metadata.uid!)
    const addresses = Object.fromEntries(networks.flatMap((each) => this.#addressesOf(each, own)))
    return { network, networks, addresses, volumes: volumeDemandsOf(pod, this.#reader) }
  }

  /**
   * Addresses of a network for a pod. Endpoints that are not decided about yet count: they are about to take an address.
   * Those that the pod has `own`, of a binding that failed, do not: it needs no others.
   */
  #addressesOf(
    { metadata: { name }, spec, status }: Network,
    own: Endpoint[],
  ): [string, { left: number; total: number }][] {
    const total = status?.usage?.total
    if (total === undefined) return [] // not counted yet
    const prepared = new Set(own.filter((each) => each.spec.networkName === name).map(({ metadata }) => metadata.uid!))
    const claims = this.#claimsOfNetwork.countOf(name) - this.#claimsOf(prepared, name)
    const claimed = Math.ceil(claims / spec.subnets.length)
    const used = Math.max(claimed, this.#endpointsOfNetwork.countOf(name) - prepared.size)
    return [[name, { left: Math.max(0, total - used), total }]]
  }

  #claimsOf(endpoints: Set<string>, networkName: string): number {
    if (endpoints.size === 0) return 0
    return this.#claimsOfNetwork.of(networkName).filter(({ spec }) => endpoints.has(spec.endpoint.uid)).length
  }

  /** A node without what the scheduler accounts for; undefined when Carbonado does not know it. */
  nodeFacts(name: string): NodeFacts | undefined {
    const node = this.#reader.get(Node, { name })
    return node && { node, drives: this.#drivesOnNode.of(name) }
  }

  /** All nodes, with what is left for the requests of pods, as of a moment ago: many pods are asked about at once. */
  allNodes(): NodeFacts[] {
    const now = performance.now()
    if (this.#nodes && now - this.#nodes.at < factsAge) return this.#nodes.facts
    const facts = this.#reader.list(Node).map((node) => {
      const { name } = node.metadata
      return { node, drives: this.#drivesOnNode.of(name), share: this.#shareOf(name) }
    })
    this.#nodes = { at: now, facts }
    return facts
  }

  #shareOf(name: string): { left: PodShare; total: PodShare } {
    const published = this.#reader.get(KubernetesNode, { name })?.status?.allocatable ?? {}
    const amount = (resource: string): number => kubernetesQuantity(published[resource]) ?? 0
    const total = { interfaces: amount(interfacesResource), bandwidth: amount(bandwidthResource) }
    const left = { ...total }
    for (const pod of this.#indices.podsOnNode.of(name).filter(isCounted)) {
      const { interfaces, bandwidth } = requestedBy(pod)
      left.interfaces -= interfaces
      left.bandwidth -= bandwidth
    }
    return { left: { interfaces: Math.max(0, left.interfaces), bandwidth: Math.max(0, left.bandwidth) }, total }
  }
}
