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

/** What the endpoints of pods are made and removed with. */
export interface PodEndpointsParts {
  store: ResourceStore
  reader: SyncReader
  podOf: (reference: ObjectReference) => Pod | undefined
  /** The pod past the copy in memory; undefined when there is none. */
  livePodOf: (reference: ObjectReference) => Promise<Pod | undefined>
  endpointsOf: (podUid: string) => Endpoint[]
}

/**
 * Makes the endpoints of a pod as soon as it has a node, so that they are decided about when its sandbox is made, and
 * removes them when it ends. What a sandbox still has is its agent's: only marked here, and gone when the agent has taken
 * it from the kernel.
 */
export class PodEndpoints {
  readonly #parts: PodEndpointsParts

  constructor(parts: PodEndpointsParts) {
    this.#parts = parts
  }

  /** Looks at one pod, by namespace, name and uid. */
  async reconcile(reference: Required<ObjectReference>, uid: string): Promise<ReconcileResult> {
    const pod = this.#parts.podOf(reference)
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

  /** Of a pod that is gone for good; asked past the copy, because a copy may be behind. */
  async #removeOrphans(reference: ObjectReference, uid: string): Promise<void> {
    const own = this.#parts.endpointsOf(uid).filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    if (own.length === 0 || (await this.#parts.livePodOf(reference))?.metadata.uid === uid) return
    await Promise.all(own.map((endpoint) => this.#remove(endpoint)))
  }

  /** Of a pod that has ended, or ends: kubelet has torn down what no sandbox holds any more. */
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
