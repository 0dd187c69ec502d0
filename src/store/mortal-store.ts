import type { KindDefinition, KubeObject } from '../api/index.ts'
import { Unavailable } from '../base/index.ts'
import type {
  DeleteOptions,
  ListOptions,
  ObjectList,
  ObjectReference,
  PatchOptions,
  ResourceStore,
  WatchEvent,
  WatchOptions,
} from './resource-store.ts'

/**
 * For tests of what a crash leaves: the view that one process has of a store, with the moment of its death to choose: after a number of writes it can
 * neither read nor write any more. The last write is either not made, or made without the process learning of it.
 */
export class MortalStore implements ResourceStore {
  readonly #store: ResourceStore
  #writesLeft = Number.POSITIVE_INFINITY
  #loseAnswer = false
  isDead = false

  constructor(store: ResourceStore) {
    this.#store = store
  }

  /** Chooses the moment; an earlier choice that has not come true yet is replaced. */
  dieAfter(writes: number, loseAnswer: boolean): void {
    this.#writesLeft = writes
    this.#loseAnswer = loseAnswer
  }

  get<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): Promise<T> {
    return this.#read(() => this.#store.get(kind, reference))
  }

  list<T extends KubeObject>(kind: KindDefinition<T>, options?: ListOptions): Promise<ObjectList<T>> {
    return this.#read(() => this.#store.list(kind, options))
  }

  watch<T extends KubeObject>(kind: KindDefinition<T>, options?: WatchOptions): AsyncIterable<WatchEvent<T>> {
    return this.#store.watch(kind, options)
  }

  create<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T> {
    return this.#write(() => this.#store.create(kind, object))
  }

  update<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T> {
    return this.#write(() => this.#store.update(kind, object))
  }

  updateStatus<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T> {
    return this.#write(() => this.#store.updateStatus(kind, object))
  }

  patch<T extends KubeObject>(
    kind: KindDefinition<T>,
    reference: ObjectReference,
    patch: object,
    options?: PatchOptions,
  ): Promise<T> {
    return this.#write(() => this.#store.patch(kind, reference, patch, options))
  }

  delete<T extends KubeObject>(
    kind: KindDefinition<T>,
    reference: ObjectReference,
    options?: DeleteOptions,
  ): Promise<T> {
    return this.#write(() => this.#store.delete(kind, reference, options))
  }

  async close(): Promise<void> {}

  async #read<T>(read: () => Promise<T>): Promise<T> {
    if (this.isDead) throw dead()
    return read()
  }

  async #write<T>(write: () => Promise<T>): Promise<T> {
    if (this.isDead) throw dead()
    if (this.#writesLeft-- > 0) return write()
    this.isDead = true
    if (this.#loseAnswer) await write()
    throw dead()
  }
}

function dead(): Unavailable {
  return new Unavailable('this process has died')
}
