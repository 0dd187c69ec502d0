import type { KindDefinition, KubeObject } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import { ChangeHandlers } from './change-handlers.ts'
import type { Informer, InformerChange } from './informer.ts'
import type { ObjectReference } from './resource-store.ts'

/**
 * An informer that others follow, too, as one's own: each object is in memory once. It starts with what the store has
 * then, however far the other was behind, and tells all of it as ADDED. Stopping it leaves the other running.
 */
export class InformerView<T extends KubeObject> implements Informer<T> {
  readonly #source: Informer<T>
  readonly #handlers: ChangeHandlers<T>
  readonly #stopped = Promise.withResolvers<void>()
  #starting: Promise<void> | undefined
  #isStopped = false
  #unfollow = (): void => {}

  /** `logger` hears of handlers that throw. */
  constructor(source: Informer<T>, kind: KindDefinition<T>, logger?: Logger) {
    this.#source = source
    this.#handlers = new ChangeHandlers(kind.kind, logger)
  }

  start(): Promise<void> {
    return (this.#starting ??= Promise.race([this.#follow(), this.#stopped.promise]))
  }

  catchUp(): Promise<void> {
    return Promise.race([this.start().then(() => this.#source.catchUp()), this.#stopped.promise])
  }

  get(reference: ObjectReference): T | undefined {
    return this.#source.get(reference)
  }

  items(): T[] {
    return this.#source.items()
  }

  onChange(handler: (change: InformerChange<T>) => void): () => void {
    return this.#handlers.add(handler)
  }

  stop(): Promise<void> {
    this.#isStopped = true
    this.#unfollow()
    this.#stopped.resolve()
    return Promise.resolve()
  }

  async #follow(): Promise<void> {
    await this.#source.catchUp()
    if (this.#isStopped) return
    for (const object of this.#source.items()) this.#handlers.tell({ type: 'ADDED', object })
    this.#unfollow = this.#source.onChange((change) => this.#handlers.tell(change))
  }
}
