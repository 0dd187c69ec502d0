import { isDeepStrictEqual } from 'node:util'
import { Node, type Endpoint } from '../../api/index.ts'
import { Conflict, KeyedLock, NotFound, Unavailable, type Logger } from '../../base/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'
import { cniCodes, type AttachedInterface, type AttachmentOperations, type AttachmentResult } from '../cni/index.ts'
import type { EndpointRoute, NetworkEngine } from '../engine.ts'
import { addInterfaces, withoutUndefined } from './add-operation.ts'
import { withDeadline } from './deadline.ts'
import { isSameHolder } from './endpoint-facts.ts'
import { defaultPatience, EndpointObjects, type Patience } from './endpoint-objects.ts'
import { isChildOf } from './family.ts'
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
  /** Says what routes a pod needs beside those of its network. */
  hostPath?: { routesFor(networkName: string): Promise<EndpointRoute[]> }
  patience?: Partial<Patience>
  /** As of EndpointObjectsParts. */
  podsOwnEndpoints?: boolean
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
    const { nodeName, store, informer, podsOwnEndpoints } = options
    const [patience, isKept] = [this.#patience, (endpointId: string) => this.#isAttachedHere(endpointId)]
    this.#objects = new EndpointObjects({ store, informer, nodeName, patience, isKept, podsOwnEndpoints })
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

  /** Attaches an endpoint again that the engine has let go of, because its interface was gone. */
  attachAgain(endpointId: string): void {
    this.#reconciler.attachAgain(endpointId)
  }

  /** Names (`namespace/name`) of endpoints that are attached although the store has no object for them. */
  lostEndpoints(): string[] {
    return this.#reconciler.lostEndpoints()
  }

  /**
   * Attaches a container interface with its children, all or none. The same request again gives the same result and makes nothing new; another request
   * for the same interface is a Conflict. What fails half-way is undone.
   */
  add(request: AddRequest): Promise<AttachmentResult> {
    return this.#containers.run(request.containerId, async () => {
      const present = this.#presentOf(request)
      if (present) return this.#repeat(present, request)
      requireNetns(request.netns, this.#netnsState(request.netns))
      const { journal, engine, logger, hostPath } = this.#options
      const [objects, reconciler, patience] = [this.#objects, this.#reconciler, this.#patience]
      return resultOf(
        await addInterfaces({ journal, engine, logger, objects, reconciler, patience, hostPath }, request),
      )
    })
  }

  /** Detaches an interface with its children; needs no control. The store is told in the background. */
  remove(container: ContainerInterface): Promise<void> {
    return this.#containers.run(container.containerId, async () => {
      const { journal } = this.#options
      const records = this.#familyOf(container)
      const present = records.filter(({ state }) => state !== 'detached')
      if (present.length > 0) journal.putAll(present.map((record) => ({ ...record, state: 'removing' })))
      const detached = await Promise.allSettled(present.map(({ endpointId }) => this.#reconciler.detach(endpointId)))
      for (const record of records) this.#reconciler.requeue(record)
      const failed = detached.find((outcome) => outcome.status === 'rejected')
      if (failed) throw failed.reason
    })
  }

  /** Compares what is attached with the kernel. Throws NotFound (CNI code 3) or Conflict (CNI code 110). */
  check(container: ContainerInterface, netns: string): Promise<AttachmentResult> {
    return this.#containers.run(container.containerId, async () => {
      const records = this.#familyOf(container).filter(({ state }) => state === 'attached')
      const [record] = records
      if (!record || record.primaryInterface !== undefined) throw unknownContainer(container)
      const found = await Promise.all(records.map(({ request }) => this.#options.engine.check(request)))
      const problems = found.flat().map(({ message }) => message)
      if (record.request.netns !== netns) problems.push(`it is attached to ${record.request.netns}, not to ${netns}`)
      const children = record.add?.children?.length ?? records.length - 1
      if (records.length <= children) problems.push(`only ${records.length - 1} of its ${children} children are there`)
      if (problems.length === 0) return resultOf(records)
      throw new Conflict(`interface ${container.interfaceName} is not as it was attached: ${problems.join('; ')}`, {
        remedy: 'Delete the container and start it again.',
        details: { cniCode: cniCodes.checkFailed, problems },
      })
    })
  }

  /** Removes what was attached under a CNI network name and is not listed as valid. */
  async collectGarbage(cniNetwork: string, valid: { containerId: string; interfaceName: string }[]): Promise<void> {
    const attachments = this.#options.journal
      .all()
      .filter((record) => record.cniNetwork === cniNetwork && record.state !== 'attaching')
      .map(({ containerId, interfaceName, primaryInterface = interfaceName }) => ({
        containerId,
        interfaceName: primaryInterface,
      }))
    const garbage = attachments.filter((record) => !valid.some((attachment) => isSameHolder(record, attachment)))
    const removed = await Promise.allSettled(garbage.map((each) => this.remove({ cniNetwork, ...each })))
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

  /** What the container has under the name of the interface asked for. Throws Conflict when it is another one's child. */
  #presentOf(request: AddRequest): JournalRecord | undefined {
    const names = [request, ...(request.children ?? [])].map(({ interfaceName }) => interfaceName)
    const present = this.#options.journal
      .all()
      .filter(({ state }) => state === 'attached' || state === 'found')
      .filter(({ containerId, interfaceName }) => containerId === request.containerId && names.includes(interfaceName))
    const own = present.find((record) => isSameHolder(record, request) && record.primaryInterface === undefined)
    if (own ?? present.length === 0) return own
    const { interfaceName, namespace, name } = present[0]!
    throw new Conflict(
      `container ${request.containerId} already has an interface ${interfaceName}: endpoint ${namespace}/${name}`,
      { remedy: 'Ask for another interface name, or detach the other one first.' },
    )
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
    const records = this.#familyOf(request).filter(({ state }) => state === 'attached')
    const isWhole = records.length > (record.add?.children?.length ?? 0)
    if (!isWhole || (record.add && !isDeepStrictEqual(record.add, withoutUndefined(request)))) {
      throw new Conflict(
        `interface ${request.interfaceName} of container ${request.containerId} is already attached as ` +
          `${record.namespace}/${record.name}, ${isWhole ? 'from an ADD with other arguments' : 'and lost a child since'}`,
        { remedy: isWhole ? 'Send DEL before an ADD with other arguments.' : 'Send DEL, then ADD.' },
      )
    }
    await Promise.all(
      records.map(({ endpointId, request: each }) =>
        this.#reconciler.withEngine(endpointId, (engine) => engine.attach(each)),
      ),
    )
    return resultOf(records)
  }

  /** The records of an attachment: that of its interface, if there is one, then its children. */
  #familyOf(container: ContainerInterface): JournalRecord[] {
    const all = this.#options.journal.all().filter((record) => isOfNetwork(record, container.cniNetwork))
    return [
      ...all.filter((record) => isSameHolder(record, container) && record.primaryInterface === undefined),
      ...all.filter((record) => isChildOf(record, container)).toSorted(byInterface),
    ]
  }

  #isAttachedHere(endpointId: string): boolean {
    return this.#options.journal.get(endpointId)?.state === 'attached'
  }
}

/** What an ADD made; the primary interface comes first. */
function resultOf([primary, ...children]: JournalRecord[]): AttachmentResult {
  return { ...interfaceOf(primary!), ...(children.length > 0 ? { children: children.map(interfaceOf) } : {}) }
}

function interfaceOf({ request, hostInterface, mtu }: JournalRecord): AttachedInterface {
  const { interfaceName, netns, macAddress, addresses } = request
  return { hostInterface: hostInterface!, interfaceName, netns, macAddress, mtu: mtu!, addresses }
}

function byInterface(one: JournalRecord, other: JournalRecord): number {
  return one.interfaceName.localeCompare(other.interfaceName, 'en', { numeric: true })
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
