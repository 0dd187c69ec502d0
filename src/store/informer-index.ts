import type { KubeObject } from '../api/index.ts'
import type { Informer } from './informer.ts'

/** The objects of an informer by something in them, such as the node that they are on. */
export class InformerIndex<T extends KubeObject> {
  readonly #keyOf: (object: T) => string | undefined
  readonly #groups = new Map<string, Map<string, T>>()

  /** Objects without a key are left out. What the informer holds already is taken in. */
  constructor(informer: Informer<T>, keyOf: (object: T) => string | undefined) {
    this.#keyOf = keyOf
    for (const object of informer.items()) this.#put(object)
    informer.onChange(({ type, object, previous }) => {
      if (previous) this.#drop(previous)
      if (type !== 'DELETED') this.#put(object)
    })
  }

  /** All objects of a key. */
  of(key: string): T[] {
    return [...(this.#groups.get(key)?.values() ?? [])]
  }

  /** How many there are of a key. */
  countOf(key: string): number {
    return this.#groups.get(key)?.size ?? 0
  }

  #put(object: T): void {
    const key = this.#keyOf(object)
    if (key === undefined) return
    const group = this.#groups.get(key)
    if (group) group.set(object.metadata.uid!, object)
    else this.#groups.set(key, new Map([[object.metadata.uid!, object]]))
  }

  #drop(object: T): void {
    const key = this.#keyOf(object)
    const group = key === undefined ? undefined : this.#groups.get(key)
    group?.delete(object.metadata.uid!)
    if (group?.size === 0) this.#groups.delete(key!)
  }
}
