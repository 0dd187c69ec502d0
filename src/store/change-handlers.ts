import type { KubeObject } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import type { InformerChange } from './informer.ts'

/** Those who want to hear of changes. One that throws is logged, and the others hear all the same. */
export class ChangeHandlers<T extends KubeObject> {
  readonly #handlers = new Set<(change: InformerChange<T>) => void>()
  readonly #logger: Logger | undefined
  readonly #kind: string

  /** `kind` is what the log calls the objects. */
  constructor(kind: string, logger: Logger | undefined) {
    this.#kind = kind
    this.#logger = logger
  }

  /** Adds one; returns a function that removes it. */
  add(handler: (change: InformerChange<T>) => void): () => void {
    this.#handlers.add(handler)
    return () => this.#handlers.delete(handler)
  }

  tell(change: InformerChange<T>): void {
    for (const handler of this.#handlers) {
      try {
        handler(change)
      } catch (error) {
        this.#logger?.error({ err: error, kind: this.#kind }, 'a change handler failed')
      }
    }
  }
}
