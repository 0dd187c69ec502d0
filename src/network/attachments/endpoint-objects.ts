import { setTimeout as delay } from 'node:timers/promises'
import {
  apiVersionOf,
  attachmentFinalizer,
  Endpoint,
  Network,
  Node,
  type Allocation,
  type Holder,
} from '../../api/index.ts'
import { CarbonadoError, NotFound } from '../../base/index.ts'
import { chooseNetwork } from './choose-network.ts'
import {
  findObject,
  ignoreNotFound,
  type Informer,
  type ObjectReference,
  type ResourceStore,
} from '../../store/index.ts'
import { withDeadline } from './deadline.ts'
import {
  allocationOf,
  annotationsFor,
  type BoundEndpoint,
  boundFrom,
  holderFor,
  inUse,
  isDecided,
  isFree,
  isOfPrefix,
  isSameHolder,
  leaving,
  podReference,
  referenceFor,
  referenceTo,
  requireAsWished,
  requireBindable,
  rotated,
} from './endpoint-facts.ts'
import { podEndpointNameFor } from './endpoint-name.ts'
import { EndpointRelease } from './endpoint-release.ts'
import type { InterfaceRequest } from './plan-interfaces.ts'
import type { EndpointWish } from './wish.ts'

/** How long control may take. Milliseconds. */
export interface Patience {
  /** For one answer. */
  answer: number
  /** For deciding about an endpoint, from its creation or binding on. */
  allocation: number
  /** For an earlier holder or an earlier endpoint of the same name to go. */
  release: number
}

export const defaultPatience: Patience = { answer: 3_000, allocation: 5_000, release: 2_000 }

/** What the agent says about an attached endpoint, without its own name. */
export interface Attachment {
  containerId: string
  hostInterface: string
  since: string
  networkStatus?: string
}

/** What endpoint objects are handled with. */
export interface EndpointObjectsParts {
  store: ResourceStore
  /** Follows the endpoints of the node. */
  informer: Informer<Endpoint>
  nodeName: string
  patience: Patience
  /** Whether an endpoint is attached on this node and nobody wants it otherwise. */
  isKept: (endpointId: string) => boolean
  /** The endpoints of a pod belong to it, and go when Kubernetes removes it; else they go with the sandbox. */
  podsOwnEndpoints?: boolean
}

/** A static pod comes with the hash of its file in place of a uid, and its mirror in the API has another. */
const hashOfStaticPod = /^[0-9a-f]{32}$/

/**
 * The store's side of attachments: makes, binds and releases the Endpoint objects of one node. Every method is safe to
 * repeat after a crash; preconditions on uid and version keep late repetitions from touching a newer holder.
 */
export class EndpointObjects {
  readonly #store: ResourceStore
  readonly #informer: Informer<Endpoint>
  readonly #nodeName: string
  readonly #patience: Patience
  readonly #isKept: (endpointId: string) => boolean
  readonly #podsOwnEndpoints: boolean
  readonly #releases: EndpointRelease

  constructor({ store, informer, nodeName, patience, isKept, podsOwnEndpoints = false }: EndpointObjectsParts) {
    this.#store = store
    this.#informer = informer
    this.#nodeName = nodeName
    this.#patience = patience
    this.#isKept = isKept
    this.#podsOwnEndpoints = podsOwnEndpoints
    this.#releases = new EndpointRelease({ store, informer, nodeName, patience: patience.answer })
  }

  /** Namespace and name of the endpoint that an interface is to have. */
  referenceFor(
    request: Pick<InterfaceRequest, 'containerId' | 'interfaceName' | 'pod' | 'wish'>,
  ): Required<ObjectReference> {
    const owner = this.ownerFor(request)
    if (owner) return { namespace: request.pod!.namespace, name: podEndpointNameFor(owner, request.interfaceName) }
    return referenceFor(request)
  }

  /**
   * The pod that the endpoint of an interface belongs to; undefined where it belongs to the container, as that of a static
   * pod does: an owner that the API server does not know would have it collected as garbage.
   */
  ownerFor({ pod, wish }: Pick<InterfaceRequest, 'pod' | 'wish'>): { name: string; uid: string } | undefined {
    const isUsual = wish.kind === 'dynamic' && !wish.addresses && !wish.macAddress
    if (!this.#podsOwnEndpoints || !isUsual || pod?.uid === undefined || hashOfStaticPod.test(pod.uid)) return undefined
    return { name: pod.name, uid: pod.uid }
  }

  /** Reads one endpoint past the cache; undefined when there is none. */
  async read(reference: ObjectReference): Promise<Endpoint | undefined> {
    return this.#answer(findObject(this.#store, Endpoint, reference), 'reading the endpoint')
  }

  /**
   * Makes the dynamic endpoint of a container interface. Throws Conflict when the name is taken. `onEarly` may be told
   * what the answer will be, to prepare for it.
   */
  async create(request: InterfaceRequest, onEarly?: (likely: BoundEndpoint) => void): Promise<BoundEndpoint> {
    const { perfTierName, addresses, macAddress, ...where } = request.wish as EndpointWish & { kind: 'dynamic' }
    const reference = this.referenceFor(request)
    const owner = this.ownerFor(request)
    const object: Endpoint = {
      apiVersion: apiVersionOf(Endpoint),
      kind: Endpoint.kind,
      metadata: {
        ...reference,
        finalizers: [attachmentFinalizer],
        annotations: annotationsFor(request),
        ...(owner ? { ownerReferences: [podReference(owner)] } : {}),
      },
      spec: {
        networkName: where.networkName ?? (await this.#chooseNetwork(where.networkGroup)),
        ...(perfTierName ? { perfTierName } : {}),
        ...(addresses ? { addresses } : {}),
        ...(macAddress ? { macAddress } : {}),
        isStatic: false,
        nodeName: this.#nodeName,
        holder: holderFor(request),
      },
    }
    const options = onEarly && { onEarlyAnswer: (likely: Endpoint) => onEarly(boundFrom(likely)) }
    return boundFrom(await this.#answer(this.#store.create(Endpoint, object, options), 'creating the endpoint'))
  }

  /**
   * Gives a pod's endpoint to its sandbox: one that control prepared when the pod was bound, or that an earlier sandbox
   * of the pod had, else a new one. Waits a while for an earlier sandbox to let go. `onLikely` is told what it will be.
   * Throws Conflict when another sandbox keeps it, it is on its way out, or was made for something else.
   */
  async bindOfPod(request: InterfaceRequest, onLikely: (likely: BoundEndpoint) => void): Promise<BoundEndpoint> {
    const reference = this.referenceFor(request)
    const giveUp = performance.now() + this.#patience.release
    let endpoint = this.#informer.get(reference) ?? (await this.read(reference))
    for (; ; endpoint = await this.read(reference)) {
      if (!endpoint) {
        const created = await this.#createUnlessThere(request, onLikely)
        if (created) return created
        continue
      }
      requireAsWished(endpoint, request)
      if (this.#isHeldBy(endpoint, request)) {
        await this.release(reference, endpoint.metadata.uid!, request)
      } else if (!endpoint.spec.holder && !endpoint.metadata.deletionTimestamp) {
        if (endpoint.status?.allocation?.state !== 'Refused') onLikely(boundFrom(endpoint))
        const bound = await this.tryBind(endpoint, request).catch(ignoreNotFound)
        if (bound) return bound
      } else {
        if (performance.now() > giveUp) throw endpoint.spec.holder ? inUse([endpoint]) : leaving(endpoint)
        await delay(20)
      }
    }
  }

  /** Undefined when somebody made it at the same moment. */
  async #createUnlessThere(
    request: InterfaceRequest,
    onLikely: (likely: BoundEndpoint) => void,
  ): Promise<BoundEndpoint | undefined> {
    try {
      return await this.create(request, onLikely)
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code !== 'Conflict') throw error
      if (await this.read(this.referenceFor(request))) return undefined
      throw error
    }
  }

  /**
   * Gives a static endpoint to a container interface; what a crashed ADD of that interface left is released first. Waits a
   * while for a holder that may be on its way out: its DEL is answered before the store knows. Throws NotFound,
   * InvalidInput when it is not static, Conflict naming the holder when another one has it.
   */
  async bind(request: InterfaceRequest): Promise<BoundEndpoint> {
    const reference = referenceFor(request)
    const giveUp = performance.now() + this.#patience.release
    for (;;) {
      const endpoint = await this.read(reference)
      requireBindable(endpoint, reference)
      if (this.#isHeldBy(endpoint, request)) {
        await this.release(reference, endpoint.metadata.uid!, request)
        continue
      }
      if (isFree(endpoint)) {
        const bound = await this.tryBind(endpoint, request)
        if (bound) return bound
        continue
      }
      if (performance.now() > giveUp || !(await this.#mayBeLeaving(endpoint))) throw inUse([endpoint])
      await delay(20)
    }
  }

  /**
   * Gives any free one of the static endpoints `PREFIX-0`, `PREFIX-1`, ... to a container interface. `hold` keeps the
   * reconciler off an endpoint that is tried; it is given up for those that others took first. Waits a while for holders that may be on their way out. Throws NotFound
   * when there are none, Conflict when all are held.
   */
  async bindAny(
    request: InterfaceRequest & { wish: { kind: 'any-static' } },
    hold: (reference: ObjectReference) => Disposable,
  ): Promise<BoundEndpoint> {
    const giveUp = performance.now() + this.#patience.release
    for (;;) {
      const all = await this.#ofPrefix(request)
      for (const endpoint of rotated(all.filter(isFree), request.containerId)) {
        const held = hold(referenceTo(endpoint))
        const bound = await this.tryBind(endpoint, request)
        if (bound) return bound
        held[Symbol.dispose]()
      }
      const leaving = await Promise.all(all.map((endpoint) => this.#mayBeLeaving(endpoint)))
      if (performance.now() > giveUp || !leaving.includes(true)) throw inUse(all)
      await delay(20)
    }
  }

  /**
   * Waits until control has decided about this generation of the endpoint: in its answer, or over the watch. Throws what control refused with, Conflict
   * when the endpoint is deleted meanwhile, Unavailable when no decision comes in time.
   */
  async waitForAllocation(bound: BoundEndpoint): Promise<Allocation> {
    if (isDecided(bound.answered, bound)) return allocationOf(bound.answered)
    const { promise, resolve } = Promise.withResolvers<Endpoint>()
    const look = (endpoint: Endpoint | undefined): void => {
      if (endpoint && isDecided(endpoint, bound)) resolve(endpoint)
    }
    const unsubscribe = this.#informer.onChange(({ object }) => look(object))
    // where the watch is interrupted, asking now and then still gets there
    const poll = setInterval(() => void this.read(bound.reference).then(look, () => {}), 1_000)
    try {
      look(this.#informer.get(bound.reference))
      const what = `waiting for control to allocate endpoint ${bound.reference.namespace}/${bound.reference.name}`
      return allocationOf(await withDeadline(promise, this.#patience.allocation, what))
    } finally {
      unsubscribe()
      clearInterval(poll)
    }
  }

  /**
   * Ends what a container interface has of an endpoint: a dynamic one goes, a static one is free again. Does nothing when
   * the object is gone, is another one of the same name, or has another holder. To be called only when the datapath
   * entries are gone: removing the finalizer lets control free the addresses. `isStillWanted` is asked right before each
   * write.
   */
  release(
    reference: ObjectReference,
    uid: string,
    holder: Pick<Holder, 'containerId' | 'interfaceName'>,
    isStillWanted?: () => boolean,
  ): Promise<void> {
    return this.#releases.release(reference, uid, holder, isStillWanted)
  }

  /** Says in the object that it is attached. */
  async reportAttachment(endpoint: Endpoint, attachment: Attachment): Promise<void> {
    const status = { attachment: { nodeName: this.#nodeName, ...attachment } }
    await this.#answer(
      this.#store.patch(Endpoint, referenceTo(endpoint), { status }, { subresource: 'status' }),
      'reporting the attachment',
    )
  }

  /** The static endpoints of a prefix, in the order of their numbers. */
  async #ofPrefix({ pod, wish }: InterfaceRequest & { wish: { kind: 'any-static' } }): Promise<Endpoint[]> {
    const namespace = pod?.namespace ?? 'default'
    const { items } = await this.#answer(this.#store.list(Endpoint, { namespace }), 'looking for static endpoints')
    const found = items.filter(({ metadata, spec }) => spec.isStatic && isOfPrefix(metadata.name, wish.prefix))
    const usable = found.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    if (usable.length > 0) return usable
    throw new NotFound(
      `there is no static endpoint ${wish.prefix}-0, ${wish.prefix}-1, ... in namespace ${namespace}`,
      {
        remedy: `Create them: dctl endpoint create ${wish.prefix}-0 -n NETWORK --ns ${namespace}.`,
      },
    )
  }

  /** Whether it is possible that the holder of an endpoint lets go of it within moments. */
  async #mayBeLeaving({ metadata, spec }: Endpoint): Promise<boolean> {
    if (spec.nodeName === undefined) return true // somebody let go of it since
    if (spec.nodeName === this.#nodeName) return !this.#isKept(metadata.uid!)
    const node = await this.#answer(this.#store.get(Node, { name: spec.nodeName }), 'looking at the node of the holder')
    return node.status?.agent === undefined || node.status.ready?.state !== false
  }

  #isHeldBy({ spec }: Endpoint, request: InterfaceRequest): boolean {
    return spec.nodeName === this.#nodeName && spec.holder !== undefined && isSameHolder(spec.holder, request)
  }

  /** Binds a free static endpoint. Undefined when somebody else changed the object first. */
  async tryBind(endpoint: Endpoint, request: InterfaceRequest): Promise<BoundEndpoint | undefined> {
    const { metadata } = endpoint
    const patch = {
      metadata: {
        finalizers: [...new Set([...(metadata.finalizers ?? []), attachmentFinalizer])],
        annotations: annotationsFor(request),
      },
      spec: { nodeName: this.#nodeName, holder: holderFor(request) },
    }
    const options = { resourceVersion: metadata.resourceVersion }
    try {
      const bound = await this.#answer(
        this.#store.patch(Endpoint, referenceTo(endpoint), patch, options),
        'binding the static endpoint',
      )
      return boundFrom(bound)
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code !== 'Conflict') throw error
      const now = await this.read(referenceTo(endpoint))
      if (now?.metadata.resourceVersion === metadata.resourceVersion) throw error // refused, not overtaken
      return undefined
    }
  }

  async #chooseNetwork(group: string | undefined): Promise<string> {
    const what = group === undefined ? 'looking for the default network' : `looking for a network of group ${group}`
    const { items } = await this.#answer(this.#store.list(Network), what)
    return chooseNetwork(items, group)
  }

  #answer<T>(work: Promise<T>, what: string): Promise<T> {
    return withDeadline(work, this.#patience.answer, what)
  }
}
