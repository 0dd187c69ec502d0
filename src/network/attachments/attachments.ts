import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { Node, type Allocation, type Endpoint } from '../../api/index.ts'
import { CarbonadoError, Conflict, KeyedLock, NotFound, Unavailable, type Logger } from '../../base/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'
import { cniCodes, type AttachmentOperations, type AttachmentResult } from '../cni/index.ts'
import type { AttachRequest, NetworkEngine } from '../engine.ts'
import { withDeadline } from './deadline.ts'
import { ratesOf } from './decide.ts'
import {
  defaultPatience,
  EndpointObjects,
  isSameHolder,
  referenceFor,
  type BoundEndpoint,
  type Patience,
} from './endpoint-objects.ts'
import type { Journal, JournalRecord } from './journal.ts'
import { netnsState, requireNetns, type NetnsState } from './netns.ts'
import { EndpointReconciler } from './reconciler.ts'
import type { AddRequest, ContainerInterface } from './wish.ts'

/** What attachments are made of. */
export interface AttachmentsOptions {
  nodeName: string
  store: ResourceStore
  /** Follows the endpoints whose spec.nodeName is this node; started and stopped here. */
  informer: Informer<Endpoint>
  engine: NetworkEngine
  journal: Journal
  logger: Logger
  patience?: Partial<Patience>
  /** Unless told, looks at the real path. */
  netnsState?: (path: string) => NetnsState
}

/** The endpoints of this node over their whole life: what CNI asks for, and repair after anything that went wrong. */
export class Attachments implements AttachmentOperations {
  readonly #options: AttachmentsOptions
  readonly #patience: Patience
  readonly #netnsState: (path: string) => NetnsState
  readonly #objects: EndpointObjects
  readonly #reconciler: EndpointReconciler
  readonly #containers = new KeyedLock()

  constructor(options: AttachmentsOptions) {
    this.#options = options
    this.#patience = { ...defaultPatience, ...options.patience }
    this.#netnsState = options.netnsState ?? netnsState
    const { nodeName, store, informer } = options
    this.#objects = new EndpointObjects(store, informer, nodeName, this.#patience)
    this.#reconciler = new EndpointReconciler({ ...options, objects: this.#objects, netnsState: this.#netnsState })
  }

  /** Repairs what the last run left, as far as it can without control; the rest follows in the background. */
  start(): Promise<void> {
    return this.#reconciler.start()
  }

  /** Stops; what is attached stays attached. */
  stop(): Promise<void> {
    return this.#reconciler.stop()
  }

  /** Endpoints that are attached now. */
  attached(): JournalRecord[] {
    return this.#options.journal.all().filter(({ state }) => state === 'attached')
  }

  /** Names (`namespace/name`) of endpoints that are attached although the store has no object for them. */
  lostEndpoints(): string[] {
    return this.#reconciler.lostEndpoints()
  }

  /**
   * Attaches a container interface. The same request again gives the same result and makes nothing new; another request
   * for the same interface is a Conflict. What fails half-way is undone.
   */
  add(request: AddRequest): Promise<AttachmentResult> {
    return this.#containers.run(containerKey(request), async () => {
      const present = this.#options.journal
        .all()
        .find((record) => isSameHolder(record, request) && (record.state === 'attached' || record.state === 'found'))
      if (present) return this.#repeat(present, request)
      requireNetns(request.netns, this.#netnsState(request.netns))
      return this.#reconciler.whileAdding(referenceFor(request), () => this.#attach(request))
    })
  }

  /** Detaches a container interface; needs no control. The store is told in the background. */
  remove(container: ContainerInterface): Promise<void> {
    return this.#containers.run(containerKey(container), async () => {
      const { journal } = this.#options
      for (const record of journal.all()) {
        if (!isSameHolder(record, container) || !isOfNetwork(record, container.cniNetwork)) continue
        if (record.state !== 'detached') {
          journal.put({ ...record, state: 'removing' })
          await this.#reconciler.detach(record.endpointId)
        }
        this.#reconciler.requeue(record)
      }
    })
  }

  /** Compares what is attached with the kernel. Throws NotFound (CNI code 3) or Conflict (CNI code 110). */
  check(container: ContainerInterface, netns: string): Promise<AttachmentResult> {
    return this.#containers.run(containerKey(container), async () => {
      const record = this.attached().find(
        (candidate) => isSameHolder(candidate, container) && isOfNetwork(candidate, container.cniNetwork),
      )
      if (!record) throw unknownContainer(container)
      const problems = (await this.#options.engine.check(record.request)).map(({ message }) => message)
      if (record.request.netns !== netns) problems.push(`it is attached to ${record.request.netns}, not to ${netns}`)
      if (problems.length === 0) return resultOf(record)
      throw new Conflict(`interface ${container.interfaceName} is not as it was attached: ${problems.join('; ')}`, {
        remedy: 'Delete the container and start it again.',
        details: { cniCode: cniCodes.checkFailed, problems },
      })
    })
  }

  /** Removes what was attached under a CNI network name and is not listed as valid. */
  async collectGarbage(cniNetwork: string, valid: { containerId: string; interfaceName: string }[]): Promise<void> {
    const garbage = this.#options.journal
      .all()
      .filter((record) => record.cniNetwork === cniNetwork && record.state !== 'attaching')
      .filter((record) => !valid.some((attachment) => isSameHolder(record, attachment)))
    const removed = await Promise.allSettled(
      garbage.map(({ containerId, interfaceName }) => this.remove({ cniNetwork, containerId, interfaceName })),
    )
    const failed = removed.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** Throws Unavailable (CNI code 50) when no container can be added now. */
  async status(): Promise<void> {
    const { store, nodeName } = this.#options
    try {
      await withDeadline(store.get(Node, { name: nodeName }), 1_000, 'asking control')
      if (this.#reconciler.isSynced) return
    } catch (error) {
      throw notReady(error instanceof Error ? error.message : String(error))
    }
    throw notReady('the endpoints of this node have not been read yet')
  }

  async #repeat(record: JournalRecord, request: AddRequest): Promise<AttachmentResult> {
    if (record.state === 'found') {
      throw new Unavailable(
        `interface ${request.interfaceName} was found attached and is being looked up in the store`,
        {
          remedy: 'Try again.',
        },
      )
    }
    if (record.add && !isDeepStrictEqual(record.add, withoutUndefined(request))) {
      throw new Conflict(
        `interface ${request.interfaceName} of container ${request.containerId} is already attached as ` +
          `${record.namespace}/${record.name}, from an ADD with other arguments`,
        { remedy: 'Send DEL before an ADD with other arguments.' },
      )
    }
    await this.#reconciler.withEngine(record.endpointId, (engine) => engine.attach(record.request))
    return resultOf(record)
  }

  async #attach(request: AddRequest): Promise<AttachmentResult> {
    const { engine } = this.#options
    const likely = Promise.withResolvers<BoundEndpoint>()
    const certain = this.#bind(request, likely.resolve)
    certain.then(likely.resolve, likely.reject)
    likely.promise.catch(() => {}) // awaited below
    await nextTurn() // by then control has been asked, and finds an address meanwhile
    using _preparation = engine.prepare(request)
    const bound = await likely.promise
    try {
      return await this.#attachBound(bound, certain, request)
    } catch (error) {
      await this.#undo(bound)
      throw error
    } finally {
      this.#reconciler.requeue({ ...bound.reference, endpointId: bound.uid })
    }
  }

  /** What is likely is prepared; the endpoint can send and receive, and is told of, once it is certain. */
  async #attachBound(
    likely: BoundEndpoint,
    certain: Promise<BoundEndpoint>,
    request: AddRequest,
  ): Promise<AttachmentResult> {
    const { journal } = this.#options
    const allocation = await this.#objects.waitForAllocation(likely)
    // an earlier holder of the same static endpoint leaves the journal a moment after it left the store
    await this.#reconciler.whenForgotten(({ endpointId }) => endpointId === likely.uid, this.#patience.release)
    const record = newRecord(likely, request, allocation)
    journal.put(record)
    const confirmed = certain.then((bound) => requireSame(bound, likely))
    confirmed.catch(() => {}) // the engine waits for it, unless it fails before
    const { hostInterface, mtu } = await this.#reconciler.withEngine(likely.uid, (engine) =>
      engine.attach(record.request, confirmed),
    )
    const attached = { ...record, state: 'attached', hostInterface, mtu, since: new Date().toISOString() } as const
    journal.put(attached)
    return resultOf(attached)
  }

  async #bind(request: AddRequest, onLikely: (bound: BoundEndpoint) => void): Promise<BoundEndpoint> {
    const { namespace, name } = referenceFor(request)
    const isSameObject = (record: JournalRecord): boolean => record.namespace === namespace && record.name === name
    if (request.wish.kind === 'static') {
      await this.#reconciler.whenForgotten(
        (record) => isSameObject(record) && isSameHolder(record, request),
        this.#patience.release,
      )
      return this.#objects.bind(request)
    }
    await this.#reconciler.whenForgotten(isSameObject, this.#patience.release)
    try {
      return await this.#objects.create(request, onLikely)
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code !== 'Conflict') throw error
      return this.#createInPlaceOfLeftover(request, error)
    }
  }

  /** The name is taken: by what a crashed or late ADD of this very interface left, which nobody was told about. */
  async #createInPlaceOfLeftover(request: AddRequest, conflict: CarbonadoError): Promise<BoundEndpoint> {
    const leftover = await this.#objects.read(referenceFor(request))
    const holder = leftover?.spec.holder
    if (leftover && (!holder || !isSameHolder(holder, request))) throw conflict
    if (leftover) await this.#objects.release(referenceFor(request), leftover.metadata.uid!, request)
    return this.#objects.create(request)
  }

  /** Takes back what a failed ADD did to the kernel; the object follows in the background. */
  async #undo(bound: BoundEndpoint): Promise<void> {
    const { journal, logger } = this.#options
    const record = journal.get(bound.uid)
    if (record?.state !== 'attaching') return
    journal.put({ ...record, state: 'removing' })
    await this.#reconciler.detach(bound.uid).catch((error: unknown) => {
      logger.warn({ err: error, endpoint: record.name }, 'undoing an ADD failed; it will be tried again')
    })
  }
}

function newRecord(bound: BoundEndpoint, request: AddRequest, allocation: Allocation): JournalRecord {
  const { namespace, name } = bound.reference
  const { containerId, interfaceName, cniNetwork, netns } = request
  const { addresses, macAddress, vlan, mtu } = allocation
  const attach: AttachRequest = {
    endpointId: bound.uid,
    endpointName: `${namespace}/${name}`,
    containerId,
    netns,
    interfaceName,
    macAddress,
    addresses,
    vlan,
    ...(mtu === undefined ? {} : { mtu }),
    ...ratesOf(allocation),
  }
  return {
    state: 'attaching',
    endpointId: bound.uid,
    namespace,
    name,
    containerId,
    interfaceName,
    networkName: bound.networkName,
    cniNetwork,
    request: attach,
    add: withoutUndefined(request),
  }
}

function resultOf({ request, hostInterface, mtu }: JournalRecord): AttachmentResult {
  const { interfaceName, netns, macAddress, addresses } = request
  return { hostInterface: hostInterface!, interfaceName, netns, macAddress, mtu: mtu!, addresses }
}

/** What was prepared for must be what came; anything else is a defect of the server. */
function requireSame(certain: BoundEndpoint, likely: BoundEndpoint): void {
  const [now, then] = [certain.answered.status?.allocation, likely.answered.status?.allocation]
  if (certain.uid === likely.uid && isDeepStrictEqual(now, then)) return
  throw new Unavailable(`endpoint ${likely.reference.name} changed while it was being attached`, {
    remedy: 'Try again.',
  })
}

/** As it will be after a round through the journal. */
function withoutUndefined(request: AddRequest): AddRequest {
  return JSON.parse(JSON.stringify(request)) as AddRequest
}

function containerKey({ containerId, interfaceName }: ContainerInterface): string {
  return `${containerId}/${interfaceName}`
}

/** An adopted attachment whose CNI network nobody knows answers to any. */
function isOfNetwork(record: JournalRecord, cniNetwork: string): boolean {
  return record.cniNetwork === undefined || record.cniNetwork === cniNetwork
}

function unknownContainer({ containerId, interfaceName }: ContainerInterface): NotFound {
  return new NotFound(`interface ${interfaceName} of container ${containerId} is not attached`, {
    remedy: 'Start the container again.',
    details: { cniCode: cniCodes.unknownContainer },
  })
}

function notReady(why: string): Unavailable {
  return new Unavailable(`no container can be attached now: ${why}`, {
    remedy: 'Look whether control runs and can be reached from this node.',
    details: { cniCode: cniCodes.notAvailable },
  })
}
