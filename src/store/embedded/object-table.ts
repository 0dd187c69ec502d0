import type { KindDefinition, KubeObject } from '../../api/index.ts'
import { fieldOf, selectorViewOf, type Matcher, type WantedField } from '../selector.ts'

/** The objects of one kind in memory, by key. All of them are frozen and shared. */
export class ObjectTable {
  readonly #byKey = new Map<string, KubeObject>()
  /** All of them by namespace and name, until something changes. */
  #sorted: KubeObject[] | undefined
  /** Keys by the value of a field, for the fields that were selected on: an agent wants what is on its node. */
  readonly #indexes = new Map<string, Map<string, Set<string>>>()

  /** How many objects there are. */
  get size(): number {
    return this.#byKey.size
  }

  get(key: string): KubeObject | undefined {
    return this.#byKey.get(shortened(key))
  }

  set(longKey: string, object: KubeObject): void {
    const key = longKey.startsWith('/') ? object.metadata.name : longKey
    const previous = this.#byKey.get(key)
    this.#byKey.set(key, object)
    this.#sorted = undefined
    for (const [path, index] of this.#indexes) {
      if (previous) {
        if (fieldOf(previous, path) === fieldOf(object, path)) continue
        removeFrom(index, fieldOf(previous, path), key)
      }
      addTo(index, fieldOf(object, path), key)
    }
  }

  delete(longKey: string): void {
    const key = shortened(longKey)
    const previous = this.#byKey.get(key)
    if (!previous) return
    this.#byKey.delete(key)
    this.#sorted = undefined
    for (const [path, index] of this.#indexes) removeFrom(index, fieldOf(previous, path), key)
  }

  /** Those that match, ordered by namespace and name. All of them have the value of the field that is wanted, if any. */
  select(kind: KindDefinition, matcher: Matcher | undefined, wanted?: WantedField): KubeObject[] {
    const candidates = wanted ? this.#withField(wanted) : (this.#sorted ??= this.#inOrder(this.#byKey.keys()))
    return matcher ? candidates.filter((object) => matcher(selectorViewOf(kind, object))) : [...candidates]
  }

  #withField({ path, value }: WantedField): KubeObject[] {
    let index = this.#indexes.get(path)
    if (!index) {
      index = new Map()
      for (const [key, object] of this.#byKey) addTo(index, fieldOf(object, path), key)
      this.#indexes.set(path, index)
    }
    return this.#inOrder(index.get(value) ?? [])
  }

  #inOrder(keys: Iterable<string>): KubeObject[] {
    return [...keys].sort((one, other) => (one < other ? -1 : 1)).map((key) => this.#byKey.get(key)!)
  }
}

/** Objects without a namespace are kept by their names, which are in memory anyway. */
function shortened(key: string): string {
  return key.startsWith('/') ? key.slice(1) : key
}

function addTo(index: Map<string, Set<string>>, value: string, key: string): void {
  const keys = index.get(value)
  if (keys) keys.add(key)
  else index.set(value, new Set([key]))
}

function removeFrom(index: Map<string, Set<string>>, value: string, key: string): void {
  const keys = index.get(value)
  keys?.delete(key)
  if (keys?.size === 0) index.delete(value)
}
