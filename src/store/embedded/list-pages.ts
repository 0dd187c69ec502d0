import { randomUUID } from 'node:crypto'
import type { KubeObject } from '../../api/index.ts'
import { Expired } from '../../base/index.ts'

/** The rest of a list whose first pages were handed out, as it was at `resourceVersion`. */
export interface RemainingPages {
  /** Kind and selectors; a token works only with those it was made for. */
  query: string
  resourceVersion: string
  /** The whole list, shared by all of its tokens. */
  items: KubeObject[]
  /** How many of them were handed out. */
  from: number
}

const keptLists = 100
const keptMilliseconds = 5 * 60_000

/**
 * Remembers unfinished lists, so that all pages of one list show the same moment. Objects are shared, so a kept list
 * costs one pointer per object. The oldest are dropped; their tokens then are Expired, which callers must expect anyway.
 */
export class ListPages {
  readonly #kept = new Map<string, RemainingPages & { until: number }>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Keeps the rest of a list and returns the token that gets it. */
  keep(remaining: RemainingPages): string {
    const token = randomUUID()
    this.#kept.set(token, { ...remaining, until: this.#now() + keptMilliseconds })
    for (const [oldest, { until }] of this.#kept) {
      if (this.#kept.size <= keptLists && until > this.#now()) break
      this.#kept.delete(oldest)
    }
    return token
  }

  /** The rest of a list. Throws Expired when it is not remembered, or was made for another query. */
  resume(token: string, query: string): RemainingPages {
    const kept = this.#kept.get(token)
    if (kept && kept.until > this.#now() && kept.query === query) return kept
    throw new Expired('The continue token is unknown, too old or from another list', {
      remedy: 'List again from the first page.',
    })
  }
}
