import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { Endpoint } from '../../api/index.ts'
import { Internal, KeyedLock, Unavailable, WorkQueue, type Logger, type ReconcileResult } from '../../base/index.ts'
import type { Informer, ObjectReference } from '../../store/index.ts'
import type { NetworkEngine } from '../engine.ts'
import { adoptedRecord, nextStep, planStart, type Rates, type Step } from './decide.ts'
import type { Attachment, EndpointObjects } from './endpoint-objects.ts'
import { isChildOf, isOrphan } from './family.ts'
import type { Journal, JournalRecord } from './journal.ts'
import type { NetnsState } from './netns.ts'
import { networkStatusOf } from './network-status.ts'

/** What the reconciler works on. */
export interface ReconcilerParts {
  nodeName: string
  journal: Journal
  engine: NetworkEngine
  objects: EndpointObjects
  informer: Informer<Endpoint>
  netnsState: (path: string) => NetnsState
  logger: Logger
}

/** Milliseconds that news of what the agent wrote may take: until then the copy in memory is not held against it. */
const newsPatience = 10_000

/** Names one endpoint and one life of it. */
interface EndpointKey {
  namespace: string
  name: string
  uid: string
}

/**
 * Brings journal, kernel and store of the node's endpoints together, one endpoint at a time, from whatever state they
 * are in. It is level-triggered: it looks at what is, never at what happened, so that it repairs what a crash left.
 *
 * Why a crash at any moment is repaired. The order of effects is: object in the store (1), journal `attaching` (2),
 * engine (3), journal `attached` (4), answer (5); and back: journal `removing` (6), engine (7), journal `detached` (8),
 * answer (9), store (10), journal forgets (11). After a crash
 * - between 1 and 2 the store has an endpoint of this node that the journal does not know: released, nobody was told;
 * - between 2 and 4 the journal says `attaching`: undone by 6 to 11, nobody was told;
 * - between 4 and 6 kernel, journal and store agree; a runtime that got no answer repeats the ADD or sends DEL;
 * - between 6 and 11 the journal says how far it got, and every later step does nothing when it was done before.
 * Of an ADD with several interfaces the writes 2, 4 and 6 are one write for all: it counts for all of them or for none.
 * The addresses are safe because 10 comes after 7: as long as the kernel lets the endpoint send, its object, and so its
 * claims, exist. reconciler-crashes.test.ts kills the agent at each of these points.
 */
export class EndpointReconciler {
  readonly #parts: ReconcilerParts
  readonly #queue: WorkQueue
  readonly #engineLock = new KeyedLock()
  /** Objects that an ADD works on, with how many do. */
  readonly #adding = new Map<string, number>()
  readonly #missing = new Set<string>()
  readonly #lost = new Set<string>()
  /** When attachments were reported, by the endpoint's uid, in milliseconds of a clock that never jumps. */
  readonly #reportedAt = new Map<string, number>()
  #isSynced = false
  #unsubscribe: () => void = () => {}

  constructor(parts: ReconcilerParts) {
    this.#parts = parts
    this.#queue = new WorkQueue((key) => this.#reconcile(key), {
      maximumRetryDelay: 5_000,
      onError: (key, error) => parts.logger.warn({ err: error, endpoint: key }, 'reconciling an endpoint failed'),
    })
  }

  /** Whether the store has been seen since the start. */
  get isSynced(): boolean {
    return this.#isSynced
  }

  /**
   * Compares journal and kernel, then follows the store in the background: returns without waiting for control. The
   * engine must have been started.
   */
  async start(): Promise<void> {
    const { journal, engine, informer, netnsState, logger } = this.#parts
    const { isFromEarlierBoot } = journal
    const kernel = (await engine.attached()).filter(({ isHostLeg }) => !isHostLeg)
    const plan = planStart({ records: journal.all(), kernel, isFromEarlierBoot, netnsState })
    for (const record of plan.changed) journal.put(record)
    journal.confirmBoot()
    for (const endpointId of plan.missing) this.#missing.add(endpointId)
    const { changed, missing } = plan
    if (changed.length + missing.length > 0) {
      logger.notice(
        { changed: changed.length, missing: missing.length, isFromEarlierBoot },
        'repairing after a restart',
      )
    }
    for (const record of journal.all()) this.requeue(record)
    this.#unsubscribe = informer.onChange(({ object }) => this.#queue.add(encodeKey(keyOfObject(object))))
    void informer.start().then(() => this.#onSynced())
  }

  /** Stops; what is attached stays attached. */
  async stop(): Promise<void> {
    this.#unsubscribe()
    await this.#parts.informer.stop()
    await this.#queue.stop()
  }

  /** Has an endpoint looked at soon. */
  requeue({ namespace, name, endpointId }: Pick<JournalRecord, 'namespace' | 'name' | 'endpointId'>): void {
    this.#queue.add(encodeKey({ namespace, name, uid: endpointId }))
  }

  /** Has an endpoint attached again that the engine has let go of, because its interface was gone. */
  attachAgain(endpointId: string): void {
    const record = this.#parts.journal.get(endpointId)
    if (record?.state !== 'attached') return
    this.#missing.add(endpointId)
    this.requeue(record)
  }

  /** Keeps the reconciler off an object that the journal does not know, until it is disposed of: an ADD works on it. */
  hold(reference: ObjectReference): Disposable {
    const key = addingKey(reference)
    this.#adding.set(key, (this.#adding.get(key) ?? 0) + 1)
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return
        isHeld = false
        // what the ADD left behind, on success or failure, is the reconciler's again
        void this.#whenSeen(reference).then(() => this.#endAdding(key, reference))
      },
    }
  }

  #endAdding(key: string, reference: ObjectReference): void {
    const left = this.#adding.get(key)! - 1
    if (left > 0) this.#adding.set(key, left)
    else this.#adding.delete(key)
    const object = this.#parts.informer.get(reference)
    if (object) this.#queue.add(encodeKey(keyOfObject(object)))
    const record = this.#parts.journal.all().find((each) => addingKey(each) === key)
    if (record) this.requeue(record)
  }

  /**
   * Waits until the informer knows what an ADD has attached: the store's answer may be here before the news. Until then
   * the object would seem to be gone.
   */
  async #whenSeen({ namespace, name }: ObjectReference): Promise<void> {
    const { journal, informer } = this.#parts
    const record = journal.all().find((each) => each.namespace === namespace && each.name === name)
    if (record?.state !== 'attached') return
    await nextTurn() // whoever asked for it is answered first
    const isSeen = (): boolean => this.#objectOf({ ...record, uid: record.endpointId }) !== undefined
    if (isSeen()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const unsubscribe = informer.onChange(() => isSeen() && resolve())
    const timer = setTimeout(resolve, newsPatience).unref()
    await promise
    unsubscribe()
    clearTimeout(timer)
  }

  /** Runs engine operations of one endpoint one after the other. */
  withEngine<T>(endpointId: string, work: (engine: NetworkEngine) => Promise<T>): Promise<T> {
    return this.#engineLock.run(endpointId, () => work(this.#parts.engine))
  }

  /** Takes what is marked `removing` from the kernel. Returns when the container can no longer send or receive. */
  detach(endpointId: string): Promise<void> {
    const { journal } = this.#parts
    return this.withEngine(endpointId, async (engine) => {
      if (journal.get(endpointId)?.state !== 'removing') return
      await engine.detach(endpointId)
      this.#missing.delete(endpointId)
      this.#reportedAt.delete(endpointId)
      const record = journal.get(endpointId)!
      journal.put({ ...record, state: 'detached' })
      for (const child of journal.all()) if (isChildOf(child, record)) this.requeue(child)
    })
  }

  /**
   * Waits until the journal has no record on its way out that `matches`. Throws Unavailable after some milliseconds: the
   * store cannot be told.
   */
  async whenForgotten(matches: (record: JournalRecord) => boolean, milliseconds: number): Promise<void> {
    const leaving = (): JournalRecord[] =>
      this.#parts.journal.all().filter((record) => record.state !== 'attached' && matches(record))
    for (const record of leaving()) this.requeue(record)
    const giveUp = performance.now() + milliseconds
    while (leaving().length > 0) {
      if (performance.now() > giveUp) {
        throw new Unavailable('an earlier attachment of the same endpoint is still being released', {
          remedy: 'Try again; if it stays so, look whether control runs and can be reached from this node.',
        })
      }
      await delay(5)
    }
  }

  /** Names of endpoints that are attached although the store has no object for them. */
  lostEndpoints(): string[] {
    return [...this.#lost]
  }

  #onSynced(): void {
    this.#isSynced = true
    for (const record of this.#parts.journal.all()) this.requeue(record)
    for (const object of this.#parts.informer.items()) this.#queue.add(encodeKey(keyOfObject(object)))
  }

  async #reconcile(text: string): Promise<ReconcileResult> {
    const key = decodeKey(text)
    this.#lost.delete(`${key.namespace}/${key.name}`)
    for (;;) {
      const { step, isLast } = await this.#takeStep(key)
      if (isLast) return { done: true }
      this.#parts.logger.debug({ endpoint: text, step }, 'a step of reconciling is done')
    }
  }

  async #takeStep(key: EndpointKey): Promise<{ step: Step['step']; isLast: boolean }> {
    const object = this.#objectOf(key)
    const record = this.#parts.journal.get(key.uid)
    const step = nextStep({
      nodeName: this.#parts.nodeName,
      record,
      object,
      isAdding: this.#adding.has(addingKey(key)),
      isSynced: this.#isSynced,
      isMissing: this.#missing.has(key.uid),
      isOrphan: record !== undefined && isOrphan(record, this.#parts.journal.all()),
    })
    const isLast = await this.#execute(step, key, record, object)
    return { step: step.step, isLast }
  }

  /** Carries out a step; says whether it was the last for now. */
  async #execute(
    step: Step,
    key: EndpointKey,
    record: JournalRecord | undefined,
    object: Endpoint | undefined,
  ): Promise<boolean> {
    const { journal, objects } = this.#parts
    switch (step.step) {
      case 'nothing':
        return true
      case 'lost':
        if (await this.#isTakenOver(key, record!)) {
          journal.put({ ...record!, state: 'removing' })
          return false
        }
        this.#lost.add(`${key.namespace}/${key.name}`)
        return true
      case 'mark-removing':
        journal.put({ ...record!, state: 'removing' })
        return false
      case 'detach':
        await this.detach(key.uid)
        return false
      case 'release':
        await objects.release(key, key.uid, record!)
        if (journal.get(key.uid)?.state === 'detached') journal.delete(key.uid)
        return true
      case 'release-unknown':
        await objects.release(
          key,
          key.uid,
          object!.spec.holder ?? { containerId: '', interfaceName: '' },
          // the same interface may ask for the same endpoint again meanwhile
          () => !journal.get(key.uid) && !this.#adding.has(addingKey(key)),
        )
        return true
      case 'adopt':
        journal.put(adoptedRecord(record!, object!, new Date().toISOString()))
        return false
      case 'repair':
        await this.#repair(key.uid)
        return false
      case 'shape':
        await this.#shape(key.uid, step.rates)
        return false
      case 'report':
        await this.#report(key, record!, object!)
        return true
    }
  }

  /**
   * Whether the store has the endpoint and says that this container does not: somebody stated that this node is off, and
   * gave it to another container or nobody. Unlike an object that is gone, this is said about this very attachment.
   */
  async #isTakenOver(key: EndpointKey, { containerId, interfaceName }: JournalRecord): Promise<boolean> {
    const { objects, nodeName } = this.#parts
    const object = await objects.read(key)
    if (object?.metadata.uid !== key.uid) return false
    const { holder, nodeName: place } = object.spec
    return place !== nodeName || holder?.containerId !== containerId || holder.interfaceName !== interfaceName
  }

  /** Once: other changes of the object may come by before the news of the report. */
  async #report(key: EndpointKey, record: JournalRecord, object: Endpoint): Promise<void> {
    const age = performance.now() - (this.#reportedAt.get(key.uid) ?? -Infinity)
    if (age < newsPatience) return this.#queue.addAfter(encodeKey(key), newsPatience - age)
    await this.#parts.objects.reportAttachment(object, attachmentOf(record, this.#parts.journal.all()))
    this.#reportedAt.set(key.uid, performance.now())
  }

  async #repair(endpointId: string): Promise<void> {
    const { journal, netnsState } = this.#parts
    await this.withEngine(endpointId, async (engine) => {
      const record = journal.get(endpointId)
      if (record?.state !== 'attached') return
      if (netnsState(record.request.netns) !== 'network-namespace') return journal.put({ ...record, state: 'removing' })
      const { hostInterface, mtu } = await engine.attach(record.request)
      journal.put({ ...journal.get(endpointId)!, hostInterface, mtu })
    })
    this.#reportedAt.delete(endpointId) // the interface may have another name now
    this.#missing.delete(endpointId)
  }

  async #shape(endpointId: string, rates: Rates): Promise<void> {
    const { journal } = this.#parts
    await this.withEngine(endpointId, async (engine) => {
      if (journal.get(endpointId)?.state !== 'attached') return
      await engine.shape(endpointId, rates)
      const record = journal.get(endpointId)!
      const { bandwidthCap: _before, ...request } = record.request
      journal.put({ ...record, request: { ...request, ...rates } })
    })
  }

  #objectOf(key: EndpointKey): Endpoint | undefined {
    const object = this.#parts.informer.get(key)
    return object?.metadata.uid === key.uid ? object : undefined
  }
}

function attachmentOf(record: JournalRecord, all: JournalRecord[]): Attachment {
  const { containerId, hostInterface, since, primaryInterface } = record
  if (!hostInterface || !since) throw new Internal(`the journal lacks what the engine said about ${record.name}`)
  if (primaryInterface !== undefined) return { containerId, hostInterface, since }
  const interfaces = [record, ...all.filter((other) => isChildOf(other, record))]
  return { containerId, hostInterface, since, networkStatus: networkStatusOf(interfaces) }
}

function addingKey({ namespace, name }: ObjectReference): string {
  return `${namespace}/${name}`
}

function keyOfObject({ metadata }: Endpoint): EndpointKey {
  return { namespace: metadata.namespace!, name: metadata.name, uid: metadata.uid! }
}

function encodeKey({ namespace, name, uid }: EndpointKey): string {
  return `${namespace}/${name}/${uid}`
}

function decodeKey(key: string): EndpointKey {
  const [namespace, name, uid] = key.split('/') as [string, string, string]
  return { namespace, name, uid }
}
