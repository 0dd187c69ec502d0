import { setTimeout as delay } from 'node:timers/promises'
import type { KindDefinition, KubeObject } from '../api/index.ts'
import { asCarbonadoError, type CarbonadoError, type Logger } from '../base/index.ts'
import { deepFreeze } from './frozen.ts'
import type { ObjectReference, ResourceStore, Selection, WatchEvent } from './resource-store.ts'

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

/** A copy of some objects of a kind in memory that follows the store. All objects are shared and frozen. */
export interface Informer<T extends KubeObject> {
  /** Resolves once the copy is complete, however long the store is away; throws only when the selection is not valid. */
  start(): Promise<void>
  get(reference: ObjectReference): T | undefined
  items(): T[]
  /** Calls the handler on every later change (also those of the first list); returns a function that ends that. */
  onChange(handler: (change: InformerChange<T>) => void): () => void
  stop(): Promise<void>
}

/** Makes an informer; it survives lost connections, ended watches and forgotten versions. */
export function createInformer<T extends KubeObject>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  options: InformerOptions<T> = {},
): Informer<T> {
  return new ListAndWatch(store, kind, options)
}

const pageSize = 500
/** Milliseconds until an outage is told again. */
const firstRepeat = 60_000

class ListAndWatch<T extends KubeObject> implements Informer<T> {
  readonly #store: ResourceStore
  readonly #kind: KindDefinition<T>
  readonly #options: InformerOptions<T>
  readonly #objects = new Map<string, T>()
  readonly #handlers = new Set<(change: InformerChange<T>) => void>()
  readonly #stop = new AbortController()
  /** Where the watch goes on; undefined when everything must be listed. */
  #version: string | undefined
  #running: Promise<void> | undefined
  /** Since when the store is away, and when that is said next; by a clock that does not jump. */
  #outage: { since: number; nextNote: number; interval: number } | undefined
  readonly #synced = Promise.withResolvers<void>()

  constructor(store: ResourceStore, kind: KindDefinition<T>, options: InformerOptions<T>) {
    this.#store = store
    this.#kind = kind
    this.#options = options
  }

  start(): Promise<void> {
    this.#running ??= this.#run()
    return this.#synced.promise
  }

  get(reference: ObjectReference): T | undefined {
    return this.#objects.get(keyOf(reference))
  }

  items(): T[] {
    return [...this.#objects.values()]
  }

  onChange(handler: (change: InformerChange<T>) => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
    this.#synced.resolve()
  }

  async #run(): Promise<void> {
    let failures = 0
    while (!this.#stop.signal.aborted) {
      try {
        if (this.#version === undefined) await this.#list()
        this.#synced.resolve()
        const seen = await this.#watch()
        if (seen > 0) failures = 0
        else await this.#pause(0) // a server that ends every watch at once must not be asked without pause
      } catch (thrown) {
        const error = asCarbonadoError(thrown)
        if (error.code === 'InvalidInput') {
          this.#synced.reject(error)
          return this.#options.logger?.warn({ err: error, kind: this.#kind.kind }, 'following the store has stopped')
        }
        if (error.code === 'Expired') this.#version = undefined
        else if (!this.#stop.signal.aborted) this.#noteFailure(error)
        await this.#pause(failures++)
      }
    }
  }

  async #list(): Promise<void> {
    const seen = new Set<string>()
    let token: string | undefined
    let version: string
    do {
      const page = await this.#store.list(this.#kind, { ...this.#options.selection, limit: pageSize, continue: token })
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
    this.#noteRecovery()
  }

  /** Follows the store until the watch ends; returns how many events came. */
  async #watch(): Promise<number> {
    let seen = 0
    const events = this.#store.watch(this.#kind, {
      ...this.#options.selection,
      resourceVersion: this.#version,
      allowBookmarks: true,
      signal: this.#stop.signal,
    })
    for await (const event of events) {
      this.#apply(event)
      seen += 1
    }
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
    const object = this.#options.keep?.(whole) ?? whole
    if (previous && previous.metadata.uid !== object.metadata.uid) this.#drop(key, previous)
    deepFreeze(object)
    this.#objects.set(key, object)
    if (previous && previous.metadata.uid === object.metadata.uid) this.#tell({ type: 'MODIFIED', object, previous })
    else this.#tell({ type: 'ADDED', object })
  }

  #drop(key: string, object: T): void {
    const previous = this.#objects.get(key)
    if (!previous) return
    this.#objects.delete(key)
    this.#tell({ type: 'DELETED', object: deepFreeze(object), previous })
  }

  #tell(change: InformerChange<T>): void {
    for (const handler of this.#handlers) {
      try {
        handler(change)
      } catch (error) {
        this.#options.logger?.error({ err: error, kind: this.#kind.kind }, 'a change handler failed')
      }
    }
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

function keyOf({ name, namespace }: ObjectReference): string {
  return [namespace ?? '', name].join('/') // unlike a template's, the text of a join is kept in one piece
}
