import type { KubeObject } from '../../api/index.ts'
import { Expired } from '../../base/index.ts'
import type { WatchEvent } from '../resource-store.ts'
import type { Matcher, SelectorView } from '../selector.ts'

/** A committed change with the selector views after it and, where they differ, before it. */
export interface Change {
  kind: string
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  object: KubeObject
  view: SelectorView
  before: SelectorView
}

/** What a watcher with this selection is told of a change, if anything. */
export function eventFor(change: Change, matcher: Matcher | undefined): WatchEvent<KubeObject> | undefined {
  const { type, object } = change
  if (!matcher) return { type, object }
  const was = type !== 'ADDED' && matcher(change.before)
  const is = type !== 'DELETED' && matcher(change.view)
  if (was && is) return { type: 'MODIFIED', object }
  if (is) return { type: 'ADDED', object }
  return was ? { type: 'DELETED', object } : undefined
}

/** One watch: events wait in it until they are taken. It ends, rather than grow without bound, when nobody takes them. */
export class Watcher {
  readonly #matcher: Matcher | undefined
  readonly #limit: number
  #waiting: WatchEvent<KubeObject>[] = []
  #wake: (() => void) | undefined
  #end: 'silent' | 'overflow' | undefined

  constructor(matcher: Matcher | undefined, limit: number) {
    this.#matcher = matcher
    this.#limit = limit
  }

  offer(change: Change): void {
    const event = eventFor(change, this.#matcher)
    if (event) this.push(event)
  }

  push(event: WatchEvent<KubeObject>): void {
    if (this.#end) return
    if (this.#waiting.length >= this.#limit) {
      this.#waiting = []
      this.#end = 'overflow'
    } else this.#waiting.push(event)
    this.#wake?.()
  }

  /** Ends the watch; what waits is dropped. */
  end(): void {
    this.#end ??= 'silent'
    this.#wake?.()
  }

  /** Waits for events; undefined when the watch has ended. Throws Expired when the reader was too slow. */
  async take(): Promise<WatchEvent<KubeObject>[] | undefined> {
    if (this.#waiting.length === 0 && !this.#end) await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#wake = undefined
    if (this.#end === 'overflow') {
      throw new Expired(`The watch was more than ${this.#limit} changes behind and was ended`, {
        remedy: 'List again.',
      })
    }
    if (this.#end) return undefined
    const taken = this.#waiting
    this.#waiting = []
    return taken
  }
}

/** Hands each committed change to the watchers of its kind, in order. */
export class WatchHub {
  readonly #watchers = new Map<string, Set<Watcher>>()

  /** How many watches are open. */
  get size(): number {
    return [...this.#watchers.values()].reduce((sum, watchers) => sum + watchers.size, 0)
  }

  add(kind: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(kind) ?? new Set()
    this.#watchers.set(kind, watchers.add(watcher))
  }

  remove(kind: string, watcher: Watcher): void {
    this.#watchers.get(kind)?.delete(watcher)
  }

  publish(change: Change): void {
    for (const watcher of this.#watchers.get(change.kind) ?? []) watcher.offer(change)
  }

  endAll(): void {
    for (const watchers of this.#watchers.values()) for (const watcher of watchers) watcher.end()
  }
}
