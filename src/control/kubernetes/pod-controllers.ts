import { hostname } from 'node:os'
import {
  Endpoint,
  KubernetesNode,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  StorageClass,
  type KindDefinition,
} from '../../api/index.ts'
import { controlQueues, type Logger, type WorkQueue } from '../../base/index.ts'
import { NodeFencing, NodeResources, owningPodOf, PodEndpoints } from '../../network/pods/index.ts'
import {
  EventRecorder,
  findObject,
  InformerIndex,
  type ObjectReference,
  type ResourceStore,
} from '../../store/index.ts'
import type { ObjectCache } from './object-cache.ts'
import { isUnschedulable, SchedulingFacts, UnschedulableEvents } from './scheduling/index.ts'

/** The kinds of Kubernetes that control looks at. */
export const kubernetesKinds: KindDefinition[] = [
  Pod,
  KubernetesNode,
  PersistentVolumeClaim,
  PersistentVolume,
  StorageClass,
].map((kind) => kind as KindDefinition)

/** Milliseconds for which changes of a node gather: a pod and its endpoints go within moments of each other. */
const resourcesDelay = 500
/** Milliseconds after which a pod that has no node is told why: others may just be going. */
const explanationDelay = 500

/** What the controllers of pods work with. */
export interface PodControllersParts {
  /** Refuses writes of one that no longer leads. */
  store: ResourceStore
  cache: ObjectCache
  logger: Logger
}

/** Indices over the copies of pods and endpoints. */
export class PodIndices {
  readonly podsOnNode: InformerIndex<Pod>
  readonly endpointsOnNode: InformerIndex<Endpoint>
  readonly endpointsOfPod: InformerIndex<Endpoint>

  constructor(cache: ObjectCache) {
    this.podsOnNode = new InformerIndex(cache.informerOf(Pod), ({ spec }) => spec.nodeName)
    this.endpointsOnNode = new InformerIndex(cache.informerOf(Endpoint), ({ spec }) => spec.nodeName)
    this.endpointsOfPod = new InformerIndex(cache.informerOf(Endpoint), (endpoint) => owningPodOf(endpoint)?.uid)
  }
}

/** Makes what keeps the endpoints of pods. */
export function podEndpoints(store: ResourceStore, cache: ObjectCache, indices: PodIndices): PodEndpoints {
  return new PodEndpoints({
    store,
    reader: cache,
    podOf: (reference) => cache.get(Pod, reference),
    livePodOf: (reference) => findObject(store, Pod, reference),
    endpointsOf: (uid) => indices.endpointsOfPod.of(uid),
  })
}

/** The controllers of pods: their endpoints, and what nodes have for them. Only the leader runs them. */
export class PodControllers {
  readonly #cache: ObjectCache
  readonly #indices: PodIndices
  readonly #pods: WorkQueue
  readonly #nodes: WorkQueue
  readonly #fencing: WorkQueue
  readonly #unschedulable: WorkQueue
  readonly #recorder: EventRecorder
  readonly #unsubscribe: (() => void)[] = []

  constructor({ store, cache, logger }: PodControllersParts, indices: PodIndices, facts: SchedulingFacts) {
    this.#cache = cache
    this.#indices = indices
    const endpoints = podEndpoints(store, cache, indices)
    const onNodes = {
      store,
      nodes: cache.informerOf(Node),
      kubernetesNodes: cache.informerOf(KubernetesNode),
      endpointsOn: (nodeName: string) => indices.endpointsOnNode.of(nodeName),
    }
    const resources = new NodeResources({
      ...onNodes,
      podsOn: (nodeName) => indices.podsOnNode.of(nodeName),
    })
    const queue = controlQueues(logger)
    const source = { controller: 'carbonado.io/scheduling', instance: hostname() }
    this.#recorder = new EventRecorder(store, source, logger)
    const events = new UnschedulableEvents({
      podOf: (reference) => cache.get(Pod, reference),
      facts,
      recorder: this.#recorder,
      tryAgain: () => tryAgain(store, cache),
    })
    this.#unschedulable = queue('events of a pod', (key) => events.reconcile(...decodeKey(key)))
    const fencing = new NodeFencing({ ...onNodes, recorder: this.#recorder })
    this.#fencing = queue('fencing of a node', (name) => fencing.reconcile(name))
    this.#pods = queue('endpoints of a pod', (key) => endpoints.reconcile(...decodeKey(key)))
    this.#nodes = queue('resources of a node', (name) => resources.reconcile(name))
  }

  /** Looks at everything once, and then at what changes. */
  start(): void {
    const [pods, endpoints] = [this.#cache.informerOf(Pod), this.#cache.informerOf(Endpoint)]
    const [nodes, kubernetesNodes] = [this.#cache.informerOf(Node), this.#cache.informerOf(KubernetesNode)]
    this.#unsubscribe.push(
      pods.onChange(({ object, previous }) => this.#podChanged(object, previous)),
      endpoints.onChange(({ object }) => this.#endpointChanged(object)),
      nodes.onChange(({ object }) => this.#nodeChanged(object.metadata.name)),
      kubernetesNodes.onChange(({ object }) => this.#nodeChanged(object.metadata.name)),
    )
    for (const pod of pods.items()) this.#podChanged(pod)
    for (const endpoint of endpoints.items()) this.#endpointChanged(endpoint)
    for (const { metadata } of nodes.items()) this.#nodeChanged(metadata.name)
  }

  /** Stops taking changes and waits for what is being done. */
  async stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    await Promise.all([this.#pods.stop(), this.#nodes.stop(), this.#unschedulable.stop(), this.#fencing.stop()])
    await this.#recorder.flush()
  }

  #nodeChanged(name: string): void {
    this.#nodes.addAfter(name, resourcesDelay)
    this.#fencing.add(name)
  }

  #podChanged(pod: Pod, previous?: Pod): void {
    const { metadata, spec } = pod
    const key = encodeKey(metadata, metadata.uid!)
    if (isUnschedulable(pod) || (previous && isUnschedulable(previous)))
      this.#unschedulable.addAfter(key, explanationDelay)
    const { nodeName } = spec
    const hasEndpoints = this.#indices.endpointsOfPod.countOf(metadata.uid!) > 0
    if (nodeName !== undefined || hasEndpoints) this.#pods.add(key)
    if (nodeName !== undefined) this.#nodes.addAfter(nodeName, resourcesDelay)
    if (previous?.spec.nodeName !== undefined) this.#nodes.addAfter(previous.spec.nodeName, resourcesDelay)
  }

  #endpointChanged(endpoint: Endpoint): void {
    const { nodeName } = endpoint.spec
    if (nodeName !== undefined) this.#nodes.addAfter(nodeName, resourcesDelay)
    const owner = owningPodOf(endpoint)
    if (owner) this.#pods.add(encodeKey(owner.reference, owner.uid))
  }
}

/** A change of a node, which the scheduler hears of, has it look at all pods again that an extender kept waiting. */
async function tryAgain(store: ResourceStore, cache: ObjectCache): Promise<void> {
  const [node] = cache.informerOf(KubernetesNode).items()
  if (!node) return
  const patch = { metadata: { annotations: { 'carbonado.io/room-since': new Date().toISOString() } } }
  await store.patch(KubernetesNode, { name: node.metadata.name }, patch, { subresource: 'status' })
}

function encodeKey({ namespace, name }: ObjectReference, uid: string): string {
  return `${namespace}/${name}/${uid}`
}

function decodeKey(key: string): [Required<ObjectReference>, string] {
  const [namespace, name, uid] = key.split('/') as [string, string, string]
  return [{ namespace, name }, uid]
}
