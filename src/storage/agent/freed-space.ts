/**
 * Counts, for each drive, what gives space of its pool back: deletions and restores. What is read of a pool in several
 * steps while that happens does not fit together.
 */
export class FreedSpace {
  readonly #begun = new Map<string, number>()
  readonly #running = new Map<string, number>()

  /** Does what gives space back. */
  async during(driveName: string, work: () => Promise<void>): Promise<void> {
    add(this.#begun, driveName, 1)
    add(this.#running, driveName, 1)
    try {
      await work()
    } finally {
      add(this.#running, driveName, -1)
    }
  }

  /** What `read` returned, if nothing was given back from its beginning to its end; it is repeated a few times. */
  async readStill<T>(driveName: string, read: () => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      if (this.#running.get(driveName)) return undefined
      const begun = this.#begun.get(driveName)
      const result = await read()
      if (this.#begun.get(driveName) === begun) return result
    }
    return undefined
  }
}

const attempts = 3

function add(counts: Map<string, number>, driveName: string, change: number): void {
  counts.set(driveName, (counts.get(driveName) ?? 0) + change)
}
