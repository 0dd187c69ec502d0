import { setTimeout as delay } from 'node:timers/promises'
import type { KindDefinition, KubeObject } from '../api/index.ts'
import { asCarbonadoError, type CarbonadoError, type Logger } from '../base/index.ts'
import { ChangeHandlers } from './change-handlers.ts'
import type { ObjectList, ObjectReference, ResourceStore, Selection, WatchEvent } from './resource-store.ts'
import { SharedText } from './shared-text.ts'

/** One change of what an informer holds. With a selector DELETED also means that the object no longer matches. */
export interface InformerChange<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  object: T
  /** The state before, as last seen; absent for ADDED. */
  previous?: T
}

/** Settings of an informer. */
export interface InformerOptions<T = never> {
  selection?: Selection
  logger?: Logger
  /** What of an object is kept in memory, metadata included; absent: all of it. */
  keep?: (object: T) => T
  /** Milliseconds before the first retry after a failure; doubles up to `maximumRetryDelay`. */
  retryDelay?: number
  maximumRetryDelay?: number
}

/**
 * A copy of some objects of a kind in memory that follows the store. All objects are shared and frozen, and lack the
 * `managedFields` of a Kubernetes API server, which keeps them through any update that does not have them.
 */
export interface Informer<T extends KubeObject> {
  /**
   * Resolves once the copy is complete, or the informer was stopped; never throws. However long the store is away or
   * refuses, it is asked again, and the log tells.
   */
  start(): Promise<void>
  /**
   * Resolves once the copy has everything that the store had at the moment of the call, however long the store is away;
   * a copy that only follows may be behind.
   */
  catchUp(): Promise<void>
  get(reference: ObjectReference): T | undefined
  items(): T[]
  /** Calls the handler on every later change (also those of the first list); returns a function that ends that. */
  onChange(handler: (change: InformerChange<T>) => void): () => void
  stop(): Promise<void>
}

/** Where controllers get their copies of the objects of a kind from. */
export type InformerOf = <T extends KubeObject>(kind: KindDefinition<T>) => Informer<T>

/** Makes an informer; it survives lost connections, ended watches and forgotten versions. */
export function createInformer<T extends KubeObject>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  options: InformerOptions<T> = {},
): Informer<T> {
  return new ListAndWatch(store, kind, options)
}

const pageSize = 500
const pageAttempts = 5
/** Milliseconds until an outage is told again. */
const firstRepeat = 60_000

class ListAndWatch<T extends KubeObject> implements Informer<T> {
  readonly #store: ResourceStore
  readonly #kind: KindDefinition<T>
  readonly #options: InformerOptions<T>
  readonly #objects = new Map<string, T>()
  readonly #handlers: ChangeHandlers<T>
  readonly #stop = new AbortController()
  /** Where the watch goes on; undefined when everything must be listed. */
  #version: string | undefined
  #running: Promise<void> | undefined
  /** Those who wait for a list that begins after they came. */
  #catchingUp: (() => void)[] = []
  /** Ends the watch that is under way. */
  #endWatch: AbortController | undefined
  readonly #texts = new SharedText()
  /** Since when the store is away, and when that is said next; by a clock that does not jump. */
  #outage: { since: number; nextNote: number; interval: number } | undefined
  readonly #synced = Promise.withResolvers<void>()
  /** Whether the store refused a request; a list that it answers then does not say that it can be followed. */
  #isRefused = false

  constructor(store: ResourceStore, kind: KindDefinition<T>, options: InformerOptions<T>) {
    this.#store = store
    this.#kind = kind
    this.#options = options
    this.#handlers = new ChangeHandlers(kind.kind, options.logger)
  }

  start(): Promise<void> {
    this.#running ??= this.#run()
    return this.#synced.promise
  }

  catchUp(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#catchingUp.push(resolve)
    this.#endWatch?.abort()
    return Promise.all([this.start(), promise]).then(() => {})
  }

  get(reference: ObjectReference): T | undefined {
    return this.#objects.get(keyOf(reference))
  }

  items(): T[] {
    return [...this.#objects.values()]
  }

  onChange(handler: (change: InformerChange<T>) => void): () => void {
    return this.#handlers.add(handler)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
    this.#synced.resolve()
    for (const caughtUp of this.#catchingUp.splice(0)) caughtUp()
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#stop.signal.aborted) {
      try {
        if (this.#version === undefined || this.#catchingUp.length > 0) await this.#list()
        this.#synced.resolve()
        if (this.#catchingUp.length > 0) continue
        const seen = await this.#watch()
        if (seen > 0 || this.#catchingUp.length > 0) failures = 0
        else await this.#pause(0) // a server that ends every watch at once must not be asked without pause
      } catch (thrown) {
        await this.#recover(asCarbonadoError(thrown), failures++)
      }
    }
  }

  async #recover(error: CarbonadoError, failures: number): Promise<void> {
    // a proxy may refuse what is right, and so may a server whose definitions change: it is not wrong for ever
    const isRefusal = error.code === 'InvalidInput'
    if (isRefusal || error.code === 'Expired') this.#version = undefined
    if (isRefusal) this.#isRefused = true
    if (error.code !== 'Expired' && !this.#stop.signal.aborted) this.#noteFailure(error)
    await this.#pause(isRefusal ? Infinity : failures)
  }

  async #list(): Promise<void> {
    const waiting = this.#catchingUp.length
    const seen = new Set<string>()
    let token: string | undefined
    let version: string
    do {
      const page = await this.#page(token)
      for (const object of page.items) {
        seen.add(keyOf(object.metadata))
        this.#put(object)
      }
      token = page.continue
      version = page.resourceVersion
    } while (token && !this.#stop.signal.aborted)
    if (token) return
    for (const [key, object] of this.#objects) if (!seen.has(key)) this.#drop(key, object)
    this.#version = version
    if (!this.#isRefused) this.#noteRecovery()
    for (const caughtUp of this.#catchingUp.splice(0, waiting)) caughtUp()
  }

  /** A later page that does not come is asked for again: else the whole list would have to begin anew. */
  async #page(token: string | undefined): Promise<ObjectList<T>> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#store.list(this.#kind, { ...this.#options.selection, limit: pageSize, continue: token })
      } catch (thrown) {
        const isWorthIt = asCarbonadoError(thrown).code === 'Unavailable' && attempt < pageAttempts
        if (token === undefined || !isWorthIt || this.#stop.signal.aborted) throw thrown
        await this.#pause(attempt)
      }
    }
  }

  /** Follows the store until the watch ends; returns how many events came. */
  async #watch(): Promise<number> {
    let seen = 0
    this.#endWatch = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, this.#endWatch.signal])
    const events = this.#store.watch(this.#kind, {
      ...this.#options.selection,
      resourceVersion: this.#version,
      allowBookmarks: true,
      signal,
    })
    for await (const event of events) {
      this.#apply(event)
      seen += 1
    }
    if (!signal.aborted) this.#noteRecovery()
    return seen
  }

  #apply(event: WatchEvent<T>): void {
    this.#noteRecovery()
    if (event.type === 'BOOKMARK') {
      this.#version = event.resourceVersion
      return
    }
    const { type, object } = event
    if (type === 'DELETED') this.#drop(keyOf(object.metadata), object)
    else this.#put(object)
    this.#version = object.metadata.resourceVersion
  }

  #put(whole: T): void {
    const key = keyOf(whole.metadata)
    const previous = this.#objects.get(key)
    if (previous?.metadata.resourceVersion === whole.metadata.resourceVersion) return
    const object = this.#kept(whole)
    if (previous && previous.metadata.uid !== object.metadata.uid) this.#drop(key, previous)
    this.#objects.set(key, object)
    if (previous && previous.metadata.uid === object.metadata.uid)
      this.#handlers.tell({ type: 'MODIFIED', object, previous })
    else this.#handlers.tell({ type: 'ADDED', object })
  }

  #drop(key: string, object: T): void {
    const previous = this.#objects.get(key)
    if (!previous) return
    this.#objects.delete(key)
    this.#handlers.tell({ type: 'DELETED', object: this.#kept(object), previous })
  }

  #kept(whole: T): T {
    const slim = withoutManagedFields(whole)
    return this.#texts.frozen(this.#options.keep?.(slim) ?? slim)
  }

  /** Says once that the store is away, and again at intervals that double: hours of it must not fill a disk. */
  #noteFailure(error: CarbonadoError): void {
    const now = performance.now()
    const outage = (this.#outage ??= { since: now, nextNote: now, interval: firstRepeat })
    if (now < outage.nextNote) return
    outage.nextNote = now + outage.interval
    outage.interval *= 2
    const what = error.code === 'Internal' ? { err: error } : { code: error.code, problem: error.message }
    const seconds = Math.round((now - outage.since) / 1000)
    this.#options.logger?.warn(
      { ...what, kind: this.#kind.kind, seconds },
      'the store cannot be followed; trying again until it can',
    )
  }

  #noteRecovery(): void {
    this.#isRefused = false
    if (!this.#outage) return
    const seconds = Math.round((performance.now() - this.#outage.since) / 1000)
    this.#outage = undefined
    this.#options.logger?.notice({ kind: this.#kind.kind, seconds }, 'the store can be followed again')
  }

  async #pause(failures: number): Promise<void> {
    const { retryDelay = 50, maximumRetryDelay = 2_000 } = this.#options
    const longest = Math.min(retryDelay * 2 ** Math.min(failures, 20), maximumRetryDelay)
    // spread, so that the agents of a cluster do not come back all at once
    await delay(longest * (0.5 + Math.random() / 2), undefined, { signal: this.#stop.signal }).catch(() => {})
  }
}

/** Unlike a template's, the text of a join is kept in one piece; a name alone is the object's own text. */
function keyOf({ name, namespace }: ObjectReference): string {
  return namespace === undefined ? name : [namespace, name].join('/')
}

/** The API server's account of who set which field is larger than most objects. */
function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields, ...metadata } = object.metadata as T['metadata'] & { managedFields?: unknown }
  return managedFields === undefined ? object : { ...object, metadata }
}
