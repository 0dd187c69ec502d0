import type { KindDefinition, KubeObject } from '../../api/index.ts'
import { Expired, InvalidInput } from '../../base/index.ts'
import { deepFreeze } from '../frozen.ts'
import type { Selection, WatchEvent, WatchOptions } from '../resource-store.ts'
import { compileSelection, selectorViewOf, type Matcher, type SelectorView } from '../selector.ts'
import type { ChangeRow, Database } from './database.ts'
import { tableName, type ObjectTables } from './object-tables.ts'
import { eventFor, Watcher, WatchHub, type Change } from './watch-hub.ts'

/** What watches work with. */
export interface WatchesParts {
  database: Database
  tables: ObjectTables
  /** Throws Unavailable when the store is closed. */
  checkOpen: () => void
  /** Version of the last change. */
  resourceVersion: () => string
  /** The last version that counts, once the disk has refused to flush later ones. */
  frozenAt: () => number | undefined
  /** Milliseconds between bookmarks. */
  bookmarkInterval: number
  /** Events that may wait in one watch before it is ended. */
  queueLimit: number
}

const replayBatch = 500

/** The watches of an embedded store: each begins with what exists, or with what has changed since a version. */
export class Watches {
  readonly #parts: WatchesParts
  readonly #hub = new WatchHub()
  #open = true

  constructor(parts: WatchesParts) {
    this.#parts = parts
  }

  /** How many watches are open. */
  get count(): number {
    return this.#hub.size
  }

  /** Tells the watches of a change that has been committed. */
  publish(change: Change): void {
    this.#hub.publish(change)
  }

  /** Ends the watches that are open. */
  endAll(): void {
    this.#hub.endAll()
  }

  /** Ends the watches that are open, also those that are still at what was before. */
  close(): void {
    this.#open = false
    this.#hub.endAll()
  }

  /** Watches a kind; the rules are those of ResourceStore. */
  async *watch<T extends KubeObject>(
    kind: KindDefinition<T>,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void> {
    this.#parts.checkOpen()
    const matcher = compileSelection(kind, options)
    const watcher = new Watcher(matcher, this.#parts.queueLimit)
    const end = (): void => watcher.end()
    options.signal?.addEventListener('abort', end)
    if (options.signal?.aborted) end()
    const bookmarks = options.allowBookmarks ? this.#startBookmarks(watcher) : undefined
    try {
      const past =
        !options.resourceVersion || options.resourceVersion === '0'
          ? this.#everything(kind, options, watcher)
          : this.#replay(kind, matcher, watcher, parseVersion(options.resourceVersion))
      for (const event of past) {
        if (options.signal?.aborted || !this.#open) return
        yield event as WatchEvent<T>
      }
      if (!this.#open) return
      for (let events = await watcher.take(); events; events = await watcher.take()) {
        for (const event of events) yield event as WatchEvent<T>
        if (options.signal?.aborted) return
      }
    } finally {
      clearInterval(bookmarks)
      options.signal?.removeEventListener('abort', end)
      this.#hub.remove(tableName(kind), watcher)
    }
  }

  *#everything(kind: KindDefinition, selection: Selection, watcher: Watcher): Iterable<WatchEvent<KubeObject>> {
    const objects = this.#parts.tables.select(kind, selection)
    this.#hub.add(tableName(kind), watcher)
    for (const object of objects) yield { type: 'ADDED', object }
  }

  *#replay(
    kind: KindDefinition,
    matcher: Matcher | undefined,
    watcher: Watcher,
    from: number,
  ): Iterable<WatchEvent<KubeObject>> {
    const { database, frozenAt } = this.#parts
    if (!database.remembers(from)) throw expired(from)
    let position = from
    while (this.#open) {
      if (position < database.forgotten) throw expired(position)
      const visible = frozenAt() ?? Infinity
      const rows = database
        .changesAfter(position, tableName(kind), replayBatch)
        .filter(({ version }) => version <= visible)
      if (rows.length === 0) {
        this.#hub.add(tableName(kind), watcher) // in the same turn as the empty read, so that nothing falls between
        return
      }
      for (const row of rows) {
        position = row.version
        const event = eventFor(changeOf(kind, row), matcher)
        if (event) yield event
      }
    }
  }

  #startBookmarks(watcher: Watcher): NodeJS.Timeout {
    const { bookmarkInterval, resourceVersion } = this.#parts
    return setInterval(
      () => watcher.push({ type: 'BOOKMARK', resourceVersion: resourceVersion() }),
      bookmarkInterval,
    ).unref()
  }
}

function changeOf(kind: KindDefinition, row: ChangeRow): Change {
  const object = deepFreeze(JSON.parse(row.body) as KubeObject)
  const view = selectorViewOf(kind, object)
  const before = row.before === null ? view : (JSON.parse(row.before) as SelectorView)
  return { kind: row.kind, type: row.type as Change['type'], object, view, before }
}

function parseVersion(text: string): number {
  if (/^\d{1,16}$/.test(text)) return Number(text)
  throw new InvalidInput(`resourceVersion "${text.slice(0, 40)}" is not valid`, {
    remedy: 'Use a resourceVersion that a list, an object or a bookmark carried.',
  })
}

function expired(version: number): Expired {
  return new Expired(`Changes since version ${version} are no longer remembered`, { remedy: 'List again.' })
}
