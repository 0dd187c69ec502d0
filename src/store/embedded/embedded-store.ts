import { randomUUID } from 'node:crypto'
import type { KindDefinition, KubeObject } from '../../api/index.ts'
import { InvalidInput, Unavailable } from '../../base/index.ts'
import type { Admit, GuardedWrite, SyncReader, WriteGuard } from '../admission.ts'
import type {
  CreateOptions,
  DeleteOptions,
  ListOptions,
  ObjectList,
  ObjectReference,
  PatchOptions,
  ResourceStore,
  WatchEvent,
  WatchOptions,
} from '../resource-store.ts'
import { sameSelectorView, selectorViewOf } from '../selector.ts'
import { SharedText } from '../shared-text.ts'
import { checkpointBytes, Database } from './database.ts'
import { ListPages } from './list-pages.ts'
import { FlushNote } from './log-check.ts'
import { growLog, LogFlush } from './log-flush.ts'
import {
  alreadyExists,
  checkSize,
  deleted,
  keyOf,
  newObject,
  patched,
  referenceOf,
  replaced,
  withNewStatus,
  type Outcome,
} from './object-rules.ts'
import { ObjectTables, tableName } from './object-tables.ts'
import { UnflushedChanges } from './unflushed-changes.ts'
import type { Change } from './watch-hub.ts'
import { Watches } from './watches.ts'

/** Settings of an embedded store. */
export interface EmbeddedStoreOptions {
  /** The SQLite file; made, with its folder, when missing. `FILE.lock` keeps other processes out. */
  file: string
  admit?: Admit
  /** Changes that are remembered for watches that resume; 50 000 unless told. */
  changeLogLimit?: number
  /** Whether `durable` waits for the disk; true unless told. */
  syncEveryWrite?: boolean
  /** Milliseconds between bookmarks; 30 000 unless told. */
  bookmarkInterval?: number
  /** Events that may wait in one watch before it is ended; 20 000 unless told. */
  watchQueueLimit?: number
  now?: () => Date
}

/**
 * A ResourceStore in one SQLite file. All objects are also held in memory: reads and watches never touch the disk, and
 * writes are synchronous, so each one is atomic with its admission and watchers see changes in commit order.
 * What is written outlives the death of the process at once, and a power failure when `durable` has resolved after it.
 * Whoever tells others of the store waits for that first; controllers in this process need not, since a power failure
 * that takes back what they read takes back what they wrote after it.
 * `get`, `list` and writes return copies; watch events and the SyncReader carry shared frozen objects.
 */
export class EmbeddedStore implements ResourceStore {
  /** Reads within the current transaction; shared frozen objects. */
  readonly reader: SyncReader
  readonly #options: Required<EmbeddedStoreOptions>
  readonly #database: Database
  readonly #flush: LogFlush | undefined
  readonly #tables = new ObjectTables()
  readonly #watches: Watches
  readonly #pages = new ListPages()
  readonly #texts = new SharedText()
  readonly #unflushed = new UnflushedChanges(this.#tables)
  readonly #note: FlushNote | undefined
  /** The last version that counts, once the disk has refused to flush later ones. */
  #frozenAt: number | undefined
  readonly #openedAt: number
  #open = true

  /** Opens the file. Throws Conflict when another process has it, Internal when it is damaged. */
  constructor(options: EmbeddedStoreOptions) {
    this.#options = {
      admit: () => {},
      changeLogLimit: 50_000,
      syncEveryWrite: true,
      bookmarkInterval: 30_000,
      watchQueueLimit: 20_000,
      now: () => new Date(),
      ...options,
    }
    this.#database = new Database(options.file, this.#options.changeLogLimit)
    try {
      this.#load()
      this.#database.beginWriting()
      if (this.#options.syncEveryWrite) {
        growLog(`${options.file}-wal`, checkpointBytes)
        this.#note = new FlushNote(options.file)
        this.#flush = new LogFlush(
          `${options.file}-wal`,
          () => this.#database.version,
          this.#note,
          (flushed) => this.#freeze(flushed),
        )
      }
    } catch (error) {
      this.#database.close()
      throw error
    }
    this.#openedAt = this.#database.version
    this.reader = this.#tables.reader()
    this.#watches = new Watches({
      database: this.#database,
      tables: this.#tables,
      checkOpen: () => this.#checkOpen(),
      resourceVersion: () => this.resourceVersion,
      frozenAt: () => this.#frozenAt,
      bookmarkInterval: this.#options.bookmarkInterval,
      queueLimit: this.#options.watchQueueLimit,
    })
  }

  #load(): void {
    for (const { kind, key, body } of this.#database.objects()) {
      this.#tables.named(kind).set(key, this.#texts.frozen(JSON.parse(body) as KubeObject))
    }
  }

  /** Number of open watches, for metrics. */
  get watchCount(): number {
    return this.#watches.count
  }

  /** Version of the last change. */
  get resourceVersion(): string {
    return String(this.#frozenAt ?? this.#database.version)
  }

  /**
   * Whether the disk has refused to flush what was written. Then the store has gone back to what the disk surely has,
   * which can be read, and takes no writes until it is opened again.
   */
  get isFrozen(): boolean {
    return this.#frozenAt !== undefined
  }

  /** Number of objects of a kind. */
  count(kind: KindDefinition): number {
    return this.#tables.of(kind).size
  }

  async get<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): Promise<T> {
    this.#checkOpen()
    return structuredClone(this.#tables.existing(kind, reference))
  }

  async list<T extends KubeObject>(kind: KindDefinition<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    const page = this.listShared(kind, options)
    return { ...page, items: structuredClone(page.items) }
  }

  /**
   * This store for those in the same process who keep what they list, such as informers: its lists share the store's own
   * frozen objects, so that each is in memory once.
   */
  withSharedLists(): ResourceStore {
    return {
      get: this.get.bind(this),
      list: async (kind, options) => this.listShared(kind, options),
      watch: this.watch.bind(this),
      create: this.create.bind(this),
      update: this.update.bind(this),
      updateStatus: this.updateStatus.bind(this),
      patch: this.patch.bind(this),
      delete: this.delete.bind(this),
      close: this.close.bind(this),
    }
  }

  /** Like `list`, but the items are shared and frozen instead of copied. */
  listShared<T extends KubeObject>(kind: KindDefinition<T>, options: ListOptions = {}): ObjectList<T> {
    this.#checkOpen()
    const { limit = 0, continue: token, ...selection } = options
    if (!Number.isInteger(limit) || limit < 0) {
      throw new InvalidInput(`limit is ${limit}, expected a whole number of at least 0`, { remedy: 'Correct limit.' })
    }
    const query = JSON.stringify([
      tableName(kind),
      selection.namespace,
      selection.labelSelector,
      selection.fieldSelector,
    ])
    const rest = token
      ? this.#pages.resume(token, query)
      : { query, resourceVersion: this.resourceVersion, items: this.#tables.select(kind, selection), from: 0 }
    const { resourceVersion, items, from } = rest
    const next = limit === 0 ? items.length : from + limit
    const page = items.slice(from, next) as T[]
    if (next >= items.length) return { items: page, resourceVersion }
    return {
      items: page,
      resourceVersion,
      continue: this.#pages.keep({ ...rest, from: next }),
      remainingItemCount: items.length - next,
    }
  }

  watch<T extends KubeObject>(
    kind: KindDefinition<T>,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void> {
    return this.#watches.watch(kind, options)
  }

  async create<T extends KubeObject>(
    kind: KindDefinition<T>,
    object: T,
    { guard }: CreateOptions<T> & { guard?: WriteGuard } = {},
  ): Promise<T> {
    this.#checkWritable()
    const staged = this.#database.transaction(() => {
      const made = newObject(kind, object, randomUUID(), this.#options.now())
      const key = keyOf(kind, made.metadata)
      guard?.({ verb: 'create', kind: kind as KindDefinition, object: made })
      if (this.#tables.of(kind).get(key)) throw alreadyExists(kind, made)
      this.#options.admit({ verb: 'create', kind, object: made }, this.reader)
      return this.#stage(kind, key, 'ADDED', made, undefined)
    })
    return this.#publish(staged)
  }

  async update<T extends KubeObject>(kind: KindDefinition<T>, object: T, guard?: WriteGuard): Promise<T> {
    return this.#change(kind, referenceOf(object), (existing) => replaced(kind, existing, object), 'update', guard)
  }

  async updateStatus<T extends KubeObject>(kind: KindDefinition<T>, object: T, guard?: WriteGuard): Promise<T> {
    return this.#change(kind, referenceOf(object), (existing) => withNewStatus(kind, existing, object), 'status', guard)
  }

  async patch<T extends KubeObject>(
    kind: KindDefinition<T>,
    reference: ObjectReference,
    patch: object,
    options: PatchOptions = {},
    guard?: WriteGuard,
  ): Promise<T> {
    const { subresource, resourceVersion } = options
    const effect = subresource === 'status' ? withNewStatus<T> : replaced<T>
    return this.#change(
      kind,
      reference,
      (existing) => effect(kind, existing, patched(kind, existing, patch, resourceVersion)),
      subresource ?? 'update',
      guard,
    )
  }

  async delete<T extends KubeObject>(
    kind: KindDefinition<T>,
    reference: ObjectReference,
    options: DeleteOptions = {},
    guard?: WriteGuard,
  ): Promise<T> {
    const effect = (existing: T): Outcome<T> => deleted(kind, existing, options, this.#options.now())
    return this.#change(kind, reference, effect, 'delete', guard)
  }

  /**
   * Resolves when everything up to a resourceVersion is on the disk, or all that was written before the call. Throws
   * Unavailable when the disk refuses, from then on always.
   */
  async durable(resourceVersion?: string): Promise<void> {
    this.#checkOpen()
    await this.#flush?.durable(resourceVersion === undefined ? undefined : Number(resourceVersion))
  }

  /** Begins to bring what was written to the disk, for whoever is going to wait for that in a moment. */
  beginFlush(): void {
    this.#flush?.begin()
  }

  /** Ends all watches and closes the file; then everything is on the disk. */
  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.#watches.close()
    this.#database.close()
    await this.#flush?.close()
    this.#note?.close()
  }

  #change<T extends KubeObject>(
    kind: KindDefinition<T>,
    reference: ObjectReference,
    effect: (existing: T) => Outcome<T>,
    verb: 'update' | 'status' | 'delete',
    guard?: WriteGuard,
  ): T {
    this.#checkWritable()
    const staged = this.#database.transaction(() => {
      const existing = this.#tables.existing(kind, reference)
      const outcome = effect(existing)
      const object = outcome.result === 'unchanged' ? existing : outcome.object
      guard?.({ verb, kind, object, existing } as unknown as GuardedWrite)
      if (outcome.result === 'unchanged') return existing
      if (verb !== 'status') this.#options.admit({ verb, kind, object: outcome.object, existing }, this.reader)
      const type = outcome.result === 'removed' ? 'DELETED' : 'MODIFIED'
      return this.#stage(kind, keyOf(kind, reference), type, outcome.object, existing)
    })
    return 'body' in staged ? this.#publish(staged) : structuredClone(staged)
  }

  /** Writes a change to the file; nobody can see it until the transaction has committed and `#publish` is called. */
  #stage<T extends KubeObject>(
    kind: KindDefinition<T>,
    key: string,
    type: Change['type'],
    object: T,
    existing: T | undefined,
  ): Staged<T> {
    const version = this.#database.version + 1
    object.metadata.resourceVersion = String(version)
    const view = selectorViewOf(kind, object)
    const earlier = existing && selectorViewOf(kind, existing)
    const before = earlier && !sameSelectorView(earlier, view) ? earlier : undefined
    const body = JSON.stringify(object)
    checkSize(kind, object, body)
    const row = { version, kind: tableName(kind), type, body, before: before ? JSON.stringify(before) : null }
    this.#database.write(key, row)
    return { key, version, body, object, change: { kind: row.kind, type, object, view, before: before ?? view } }
  }

  #publish<T extends KubeObject>({ key, version, body, object, change }: Staged<T>): T {
    const table = this.#tables.named(change.kind)
    if (this.#flush) this.#unflushed.remember({ version, kind: change.kind, key }, this.#flush.flushed)
    if (change.type === 'DELETED') table.delete(key)
    else table.set(key, object)
    this.#texts.frozen(object)
    this.#database.committed(version)
    this.#watches.publish(change)
    return JSON.parse(body) as T
  }

  /** Takes back what the disk may not have: nobody was told of it but who was told that it could not be written. */
  #freeze(flushed: number): void {
    this.#frozenAt = Math.max(flushed, this.#openedAt)
    this.#unflushed.takeBack(flushed)
    this.#watches.endAll()
  }

  #checkWritable(): void {
    this.#checkOpen()
    if (this.isFrozen) throw this.#flush!.failure!
  }

  #checkOpen(): void {
    if (!this.#open) throw new Unavailable('The store is closed', { remedy: 'Try again when control runs again.' })
  }
}

/** A change that is written but not yet committed. */
interface Staged<T extends KubeObject> {
  key: string
  version: number
  body: string
  object: T
  change: Change
}
