const longest = 64
const mostRemembered = 4_096

/**
 * Objects of a store say the same again and again: type, namespace, network, node, time. Makes equal short texts of a
 * JSON value, and of those seen shortly before, one text in memory, and freezes it through and through. Returns it.
 */
export class SharedText {
  readonly #known = new Map<string, string>()

  frozen<T>(value: T): T {
    if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
    const members = value as Record<string, unknown>
    for (const name of Object.keys(members)) {
      const member = members[name]
      if (typeof member === 'object') this.frozen(member)
      else if (typeof member === 'string' && member.length <= longest) members[name] = this.#shared(member)
    }
    return Object.freeze(value)
  }

  #shared(text: string): string {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    if (this.#known.size >= mostRemembered) this.#known.clear() // what is said often is soon known again
    this.#known.set(text, text)
    return text
  }
}
