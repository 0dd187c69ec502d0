import { exec } from '../../base/index.ts'

/** Interface group in which interfaces wait for their removal; the number says nothing else on the host is in it. */
const group = 0xcb0de

/** An interface to remove, and who waits for it. */
interface Removal {
  name: string
  done: () => void
}

/**
 * Removes interfaces in the background, all that wait at once: the kernel waits for RCU some 40 ms for each removal, be
 * it of one interface or of a thousand. It does so in a process of its own, because a long-lived one would keep the next
 * attach waiting.
 */
export class InterfaceRemover {
  readonly #onRemoved: (slots: number[]) => Promise<void>
  #waiting = new Map<number, Removal>()
  #running: Promise<void> | undefined

  /** `onRemoved` is told whose interfaces have gone. It must not throw. */
  constructor(onRemoved: (slots: number[]) => Promise<void>) {
    this.#onRemoved = onRemoved
  }

  /** Removes the interface of a slot shortly; it need not exist. Resolves when it is gone. */
  remove(slot: number, name: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const earlier = this.#waiting.get(slot)
    this.#waiting.set(slot, { name, done: () => (earlier?.done(), resolve()) })
    this.#running ??= this.#run()
    return promise
  }

  /** Waits until nothing is left to remove. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running
  }

  async #run(): Promise<void> {
    await Promise.resolve() // what is removed in the same turn goes together
    while (this.#waiting.size > 0) {
      const batch = this.#waiting
      this.#waiting = new Map()
      await removeInterfaces([...batch.values()].map(({ name }) => name))
      await this.#onRemoved([...batch.keys()])
      for (const { done } of batch.values()) done()
    }
    this.#running = undefined
  }
}

async function removeInterfaces(names: string[]): Promise<void> {
  const commands = [...names.map((name) => `link set dev ${name} group ${group}`), `link del group ${group}`, '']
  // Interfaces that went with their container's namespace make commands fail; that is as well.
  await exec(['ip', '-force', '-batch', '-'], { input: commands.join('\n') }).catch(() => {})
}
