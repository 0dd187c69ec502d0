import type { KindDefinition, KubeObject } from '../../api/index.ts'
import type { Matcher } from '../selector.ts'
import { selectorViewOf } from '../selector.ts'

/** The objects of one kind in memory, by key. All of them are frozen and shared. */
export class ObjectTable {
  readonly #byKey = new Map<string, KubeObject>()
  #sorted: [string, KubeObject][] | undefined

  /** How many objects there are. */
  get size(): number {
    return this.#byKey.size
  }

  get(key: string): KubeObject | undefined {
    return this.#byKey.get(key)
  }

  set(key: string, object: KubeObject): void {
    this.#byKey.set(key, object)
    this.#sorted = undefined
  }

  delete(key: string): void {
    this.#byKey.delete(key)
    this.#sorted = undefined
  }

  /** Those that match, ordered by namespace and name. */
  select(kind: KindDefinition, matcher: Matcher | undefined): KubeObject[] {
    this.#sorted ??= [...this.#byKey].sort(([one], [other]) => (one < other ? -1 : 1))
    const all = this.#sorted.map(([, object]) => object)
    return matcher ? all.filter((object) => matcher(selectorViewOf(kind, object))) : all
  }
}
