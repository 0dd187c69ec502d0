/**
 * Lists by key, made for many keys that nearly all have one entry: that one is kept without a list around it. Entries are
 * texts or objects, never arrays.
 */
export class KeyedLists<V extends string | object> {
  readonly #entries = new Map<string, V | V[]>()

  /** The entries of a key, in the order in which they came; a list of the caller's own. */
  of(key: string): V[] {
    const found = this.#entries.get(key)
    if (found === undefined) return []
    return Array.isArray(found) ? [...found] : [found]
  }

  add(key: string, entry: V): void {
    const found = this.#entries.get(key)
    if (found === undefined) this.#entries.set(key, entry)
    else if (Array.isArray(found)) found.push(entry)
    else this.#entries.set(key, [found, entry])
  }

  /** Removes the entry, by identity; nothing happens when it is not there. */
  remove(key: string, entry: V): void {
    const left = this.of(key).filter((other) => other !== entry)
    if (left.length === 0) this.#entries.delete(key)
    else this.#entries.set(key, left.length === 1 ? left[0]! : left)
  }
}
