import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { closeBpf, openPinned, pinObject } from './bpf-system-call.ts'

/** Links that come and go with what they watch; whoever makes them looks after them. */
const isKeptElsewhere = (name: string): boolean => name === 'uplink' || name.endsWith('-dequeued')

/**
 * Knows the pins of maps, programs and files as they were when the engine started. A pin that somebody removes changes
 * nothing at once, but the next agent would not find what is attached; this one still holds the object and pins it again.
 */
export class PinKeeper implements Disposable {
  readonly #descriptors: Map<string, number>

  constructor(pins: string) {
    this.#descriptors = new Map(pinsIn(pins).map((path) => [path, openPinned(path)]))
  }

  /** Paths of pins that have gone. */
  missing(): string[] {
    return [...this.#descriptors.keys()].filter((path) => !existsSync(path))
  }

  /** Pins again what is missing. Throws Internal. */
  repair(): void {
    for (const path of this.missing()) {
      mkdirSync(dirname(path), { recursive: true })
      pinObject(this.#descriptors.get(path)!, path)
    }
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.#descriptors.values()) closeBpf(descriptor)
    this.#descriptors.clear()
  }
}

function pinsIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return pinsIn(path)
    return isKeptElsewhere(entry.name) ? [] : [path]
  })
}
