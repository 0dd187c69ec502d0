/**
 * Time as it is told in objects, RFC 3339 with milliseconds, that never goes back: of two moments the later always has
 * the larger text, also when the machine's clock was set back in between.
 */
export class RisingClock {
  #last = 0

  /** A moment that is in the objects already: later ones follow it. */
  seen(moment: string | undefined): void {
    const at = moment === undefined ? Number.NaN : Date.parse(moment)
    if (at > this.#last) this.#last = at
  }

  now(): string {
    this.#last = Math.max(Date.now(), this.#last + 1)
    return new Date(this.#last).toISOString()
  }
}
