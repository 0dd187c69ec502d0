import { closeSync, readSync } from 'node:fs'
import { closeBpf, openIterator, openPinned } from './bpf-system-call.ts'

/** What an iterator tells of the elements of a map. It is held open, so that it goes on when somebody removes its pin. */
export class IteratorFile {
  readonly #link: number
  #memory = Buffer.alloc(1 << 12)

  /** Opens a pin. Throws Internal. */
  constructor(path: string) {
    this.#link = openPinned(path)
  }

  /** All of it, from now; good until the next call, which reads into the same memory. Throws Internal. */
  read(): Buffer {
    const file = openIterator(this.#link)
    try {
      let length = 0
      for (;;) {
        if (length === this.#memory.length) this.#memory = Buffer.concat([this.#memory], 2 * length)
        const more = readSync(file, this.#memory, length, this.#memory.length - length, null)
        if (more === 0) return this.#memory.subarray(0, length)
        length += more
      }
    } finally {
      closeSync(file)
    }
  }

  close(): void {
    closeBpf(this.#link)
  }
}
