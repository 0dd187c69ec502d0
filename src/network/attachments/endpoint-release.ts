import { attachmentFinalizer, Endpoint, isOwnedByPod, type Holder } from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import { findObject, type Informer, type ObjectReference, type ResourceStore } from '../../store/index.ts'
import { withDeadline } from './deadline.ts'
import {
  cniNetworkAnnotation,
  isSameHolder,
  netnsAnnotation,
  otherFinalizers,
  referenceTo,
  routingAnnotation,
} from './endpoint-facts.ts'

/** What endpoints are released with. */
export interface EndpointReleaseParts {
  store: ResourceStore
  /** Follows the endpoints of the node. */
  informer: Informer<Endpoint>
  nodeName: string
  /** Milliseconds that control may take for one answer. */
  patience: number
}

/** Ends what container interfaces of one node have of their endpoints. */
export class EndpointRelease {
  readonly #store: ResourceStore
  readonly #informer: Informer<Endpoint>
  readonly #nodeName: string
  readonly #patience: number

  constructor({ store, informer, nodeName, patience }: EndpointReleaseParts) {
    this.#store = store
    this.#informer = informer
    this.#nodeName = nodeName
    this.#patience = patience
  }

  /** As EndpointObjects.release. */
  async release(
    reference: ObjectReference,
    uid: string,
    holder: Pick<Holder, 'containerId' | 'interfaceName'>,
    isStillWanted: () => boolean = () => true,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const known = attempt === 1 ? this.#knownToBeHeld(reference, uid, holder) : undefined
      const endpoint = known ?? (await this.#read(reference))
      if (!endpoint || endpoint.metadata.uid !== uid || endpoint.spec.nodeName !== this.#nodeName) return
      if (endpoint.spec.holder && !isSameHolder(endpoint.spec.holder, holder)) return
      if (!isStillWanted()) return
      try {
        const isKept = endpoint.spec.isStatic || (isOwnedByPod(endpoint) && !endpoint.metadata.deletionTimestamp)
        if (isKept) await this.#unbind(endpoint)
        else await this.#deleteDynamic(endpoint)
        return
      } catch (error) {
        const code = error instanceof CarbonadoError ? error.code : undefined
        if (code === 'NotFound') return
        if (code !== 'Conflict' || attempt === 5) throw error
      }
    }
  }

  /**
   * The copy in memory where it says that the endpoint is this very holder's. The writes that follow are refused if that
   * is no longer so; anything else that a copy says may be an earlier truth.
   */
  #knownToBeHeld(
    reference: ObjectReference,
    uid: string,
    holder: Pick<Holder, 'containerId' | 'interfaceName'>,
  ): Endpoint | undefined {
    const known = this.#informer.get(reference)
    const isHeld = known?.metadata.uid === uid && known.spec.holder && isSameHolder(known.spec.holder, holder)
    return isHeld ? known : undefined
  }

  async #unbind(endpoint: Endpoint): Promise<void> {
    const reference = referenceTo(endpoint)
    let { resourceVersion } = endpoint.metadata
    // a pod's goes with the pod, or its next sandbox is reported in this one's place: not worth a write of its own
    const isCleared = !isOwnedByPod(endpoint) && (endpoint.status?.attachment ?? endpoint.status?.conditions)
    if (isCleared) {
      const patch = { status: { attachment: null, conditions: null } }
      const options = { subresource: 'status', resourceVersion } as const
      const written = await this.#answer(
        this.#store.patch(Endpoint, reference, patch, options),
        'unbinding the endpoint',
      )
      resourceVersion = written.metadata.resourceVersion
    }
    const patch = {
      metadata: {
        finalizers: otherFinalizers(endpoint),
        annotations: { [cniNetworkAnnotation]: null, [netnsAnnotation]: null, [routingAnnotation]: null },
      },
      spec: endpoint.spec.isStatic ? { nodeName: null, holder: null } : { holder: null },
    }
    await this.#answer(this.#store.patch(Endpoint, reference, patch, { resourceVersion }), 'unbinding the endpoint')
  }

  async #deleteDynamic(endpoint: Endpoint): Promise<void> {
    const reference = referenceTo(endpoint)
    let last = endpoint
    if (!endpoint.metadata.deletionTimestamp) {
      const options = { uid: endpoint.metadata.uid }
      last = await this.#answer(this.#store.delete(Endpoint, reference, options), 'deleting the endpoint')
    }
    if (!last.metadata.finalizers?.includes(attachmentFinalizer)) return
    const patch = { metadata: { finalizers: otherFinalizers(last) } }
    const options = { resourceVersion: last.metadata.resourceVersion }
    await this.#answer(this.#store.patch(Endpoint, reference, patch, options), 'deleting the endpoint')
  }

  #read(reference: ObjectReference): Promise<Endpoint | undefined> {
    return this.#answer(findObject(this.#store, Endpoint, reference), 'reading the endpoint')
  }

  #answer<T>(work: Promise<T>, what: string): Promise<T> {
    return withDeadline(work, this.#patience, what)
  }
}
