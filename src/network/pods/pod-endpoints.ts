import { apiVersionOf, Endpoint, isOwnedByPod, mirrorAnnotation, Network, Node, type Pod } from '../../api/index.ts'
import { CarbonadoError, type ReconcileResult } from '../../base/index.ts'
import type { ObjectReference, ResourceStore, SyncReader } from '../../store/index.ts'
import { chooseNetwork } from '../attachments/choose-network.ts'
import { podEndpointNameFor, podReference } from '../attachments/index.ts'
import type { EndpointWish } from '../attachments/wish.ts'
import { isCounted } from './node-resources.ts'
import { interfaceNameOf, wishesOfPod } from './pod-wishes.ts'

/** The uid of the pod that an endpoint belongs to; undefined for any other endpoint. */
export function owningPodOf(endpoint: Endpoint): { uid: string; reference: Required<ObjectReference> } | undefined {
  const owner = isOwnedByPod(endpoint)
    ? endpoint.metadata.ownerReferences!.find(({ kind }) => kind === 'Pod')
    : undefined
  if (!owner) return undefined
  return { uid: owner.uid, reference: { namespace: endpoint.metadata.namespace!, name: owner.name } }
}

/**
 * The endpoints that a pod on a node is to have, as they are made before its first sandbox asks; a pure function. Static
 * endpoints exist already, and are bound by the agent. Empty for a pod whose annotations are wrong or name what does not
 * exist: its sandbox is told why.
 */
function endpointsToPrepare(pod: Pod, nodeName: string, reader: SyncReader): Endpoint[] {
  const { name, namespace, uid } = pod.metadata
  try {
    return wishesOfPod(pod).flatMap(({ wish }, number) => {
      if (wish.kind !== 'dynamic') return []
      const spec = {
        networkName: networkOf(wish, reader),
        ...(wish.perfTierName ? { perfTierName: wish.perfTierName } : {}),
      }
      return {
        apiVersion: apiVersionOf(Endpoint),
        kind: Endpoint.kind,
        metadata: {
          namespace,
          name: podEndpointNameFor({ name, uid: uid! }, interfaceNameOf(number)),
          ownerReferences: [podReference({ name, uid: uid! })],
        },
        spec: { ...spec, isStatic: false, nodeName },
      }
    })
  } catch (error) {
    if (error instanceof CarbonadoError && (error.code === 'InvalidInput' || error.code === 'NotFound')) return []
    throw error
  }
}

function networkOf({ networkName, networkGroup }: EndpointWish & { kind: 'dynamic' }, reader: SyncReader): string {
  return networkName ?? chooseNetwork(reader.list(Network), networkGroup)
}

/** Whether a pod may still get a sandbox on its node that asks for what is made here. */
function isRunning(pod: Pod): boolean {
  const isThere = pod.spec.nodeName !== undefined && pod.metadata.deletionTimestamp === undefined
  return isThere && isCounted(pod) && pod.metadata.annotations?.[mirrorAnnotation] === undefined
}

/** Whether a pod has no node and may still get one. */
function isWaiting(pod: Pod): boolean {
  const { metadata, spec } = pod
  return spec.nodeName === undefined && metadata.deletionTimestamp === undefined && isCounted(pod)
}

/** Milliseconds for which a binding may be under way: endpoints are made, then the pod is bound, each within five seconds. */
const bindingPatience = 15_000

/** What the endpoints of pods are made and removed with. */
export interface PodEndpointsParts {
  store: ResourceStore
  reader: SyncReader
  podOf: (reference: ObjectReference) => Pod | undefined
  /** The pod past the copy in memory; undefined when there is none. */
  livePodOf: (reference: ObjectReference) => Promise<Pod | undefined>
  endpointsOf: (podUid: string) => Endpoint[]
  /** Milliseconds since some moment; never jumps. The machine's unless told. */
  elapsed?: () => number
}

/**
 * Makes the endpoints of a pod as soon as it has a node, so that they are decided about when its sandbox is made, and
 * removes them when it ends, or did not get that node. What a sandbox still has is its agent's: only marked here, and
 * gone when the agent has taken it from the kernel.
 */
export class PodEndpoints {
  readonly #parts: Required<PodEndpointsParts>
  /** Since when a pod without a node is seen to have just these endpoints, by the pod's uid. */
  readonly #unbound = new Map<string, { endpoints: string; since: number }>()

  constructor(parts: PodEndpointsParts) {
    this.#parts = { elapsed: () => performance.now(), ...parts }
  }

  /** Looks at one pod, by namespace, name and uid. */
  async reconcile(reference: Required<ObjectReference>, uid: string): Promise<ReconcileResult> {
    const pod = this.#parts.podOf(reference)
    const isUnbound = pod?.metadata.uid === uid && isWaiting(pod) && this.#parts.endpointsOf(uid).length > 0
    if (isUnbound) return this.#removeUnbound(reference, uid)
    this.#unbound.delete(uid)
    if (pod?.metadata.uid !== uid) await this.#removeOrphans(reference, uid)
    else if (isRunning(pod)) await this.prepare(pod, pod.spec.nodeName!)
    else if (!isCounted(pod) || pod.metadata.deletionTimestamp) await this.#removeUnused(uid)
    return { done: true }
  }

  /** Makes what the pod is to have on the node; what was prepared for another node, which it did not get, goes. */
  async prepare(pod: Pod, nodeName: string): Promise<void> {
    const { reader, store, endpointsOf } = this.#parts
    if (!reader.get(Node, { name: nodeName })) return
    const present = endpointsOf(pod.metadata.uid!)
    const elsewhere = present.filter(({ spec }) => spec.nodeName !== nodeName && !spec.holder)
    await Promise.all(elsewhere.map((endpoint) => this.#remove(endpoint)))
    const names = new Set(present.filter((each) => !elsewhere.includes(each)).map(({ metadata }) => metadata.name))
    const wanted = endpointsToPrepare(pod, nodeName, reader).filter(({ metadata }) => !names.has(metadata.name))
    await Promise.all(wanted.map((endpoint) => store.create(Endpoint, endpoint).catch(ignore('Conflict'))))
  }

  /**
   * Of a pod that did not get its node after all, because its binding failed or whoever made it died: they would take the
   * room that the pod waits for. A binding that is under way is given time; should it succeed later, they are made again.
   */
  async #removeUnbound(reference: ObjectReference, uid: string): Promise<ReconcileResult> {
    const patience = this.#patienceWith(uid)
    if (patience > 0) return { requeueAfter: patience }
    const live = await this.#parts.livePodOf(reference)
    if (live?.metadata.uid === uid && isWaiting(live)) await this.#removeUnused(uid)
    this.#unbound.delete(uid)
    return { done: true }
  }

  /** Milliseconds left for the binding of a pod; other endpoints are of another binding. */
  #patienceWith(uid: string): number {
    const { endpointsOf, elapsed } = this.#parts
    const endpoints = endpointsOf(uid)
      .map(({ metadata }) => metadata.uid!)
      .sort()
      .join()
    const known = this.#unbound.get(uid)
    const since = known?.endpoints === endpoints ? known.since : elapsed()
    this.#unbound.set(uid, { endpoints, since })
    return since + bindingPatience - elapsed()
  }

  /** Of a pod that is gone for good; asked past the copy, because a copy may be behind. */
  async #removeOrphans(reference: ObjectReference, uid: string): Promise<void> {
    const own = this.#parts.endpointsOf(uid).filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    if (own.length === 0 || (await this.#parts.livePodOf(reference))?.metadata.uid === uid) return
    await Promise.all(own.map((endpoint) => this.#remove(endpoint)))
  }

  /** Of a pod that has ended, ends or has no node: there is no sandbox but those that hold one. */
  async #removeUnused(uid: string): Promise<void> {
    const unused = this.#parts
      .endpointsOf(uid)
      .filter(({ metadata, spec }) => !spec.holder && !metadata.deletionTimestamp)
    await Promise.all(unused.map((endpoint) => this.#remove(endpoint)))
  }

  async #remove({ metadata: { namespace, name, uid, resourceVersion } }: Endpoint): Promise<void> {
    await this.#parts.store.delete(Endpoint, { namespace, name }, { uid, resourceVersion }).catch(ignore('NotFound'))
  }
}

function ignore(code: string): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof CarbonadoError && error.code === code)) throw error
  }
}
