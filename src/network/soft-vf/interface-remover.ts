import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../base/index.ts'
import { changeLink, decodeLink, linkByName, NetlinkSocket, removeGroup } from '../netlink/index.ts'

/** Interface group in which interfaces wait for their removal; the number says nothing else on the host is in it. */
const group = 0xcb0de

/** Milliseconds before a removal that failed is tried again; doubles up to the longest. */
const firstRetry = 100
const longestRetry = 5_000

/** An interface to remove, and who waits for it. */
interface Removal {
  name: string
  done: () => void
}

/** Removes interfaces by name; returns those that are still there. Must not throw. */
export type RemoveInterfaces = (names: string[]) => Promise<string[]>

/**
 * Removes interfaces in the background, all that wait at once: the kernel waits for RCU some 40 ms for each removal, be
 * it of one interface or of a thousand. It does so through a socket of its own, so that the next attach need not wait.
 * What could not be removed is tried again until it is gone.
 */
export class InterfaceRemover {
  readonly #onRemoved: (slots: number[]) => Promise<void>
  readonly #logger: Logger
  readonly #removeInterfaces: RemoveInterfaces
  readonly #stopping = new AbortController()
  #waiting = new Map<number, Removal>()
  #running: Promise<void> | undefined

  /** `onRemoved` is told whose interfaces have gone. It must not throw. */
  constructor(
    onRemoved: (slots: number[]) => Promise<void>,
    logger: Logger,
    remove: RemoveInterfaces = removeInterfaces,
  ) {
    this.#onRemoved = onRemoved
    this.#logger = logger
    this.#removeInterfaces = remove
  }

  /** Removes the interface of a slot shortly; it need not exist. Resolves when it is gone. */
  remove(slot: number, name: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const earlier = this.#waiting.get(slot)
    this.#waiting.set(slot, { name, done: () => (earlier?.done(), resolve()) })
    this.#running ??= this.#run()
    return promise
  }

  /** Waits for the removals at hand; what cannot be removed is left for the next start. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    await Promise.resolve() // what is removed in the same turn goes together
    let failures = 0
    while (this.#waiting.size > 0) {
      const batch = this.#waiting
      this.#waiting = new Map()
      const left = await this.#removeBatch(batch)
      failures = left.length === 0 ? 0 : failures + 1
      if (left.length > 0 && !(await this.#pause(left, failures))) break
    }
    this.#running = undefined
  }

  /** Returns the names of those that are still there; they wait again. */
  async #removeBatch(batch: Map<number, Removal>): Promise<string[]> {
    const left = await this.#removeInterfaces([...batch.values()].map(({ name }) => name))
    const gone = [...batch].filter(([, { name }]) => !left.includes(name))
    for (const [slot, removal] of batch) if (left.includes(removal.name)) this.#wait(slot, removal)
    if (gone.length > 0) await this.#onRemoved(gone.map(([slot]) => slot))
    for (const [, { done }] of gone) done()
    return left
  }

  #wait(slot: number, removal: Removal): void {
    const later = this.#waiting.get(slot)
    this.#waiting.set(slot, { ...removal, done: () => (removal.done(), later?.done()) })
  }

  /** Says false when it was told to stop meanwhile. */
  async #pause(left: string[], failures: number): Promise<boolean> {
    if (this.#stopping.signal.aborted) return false
    this.#logger.error({ interfaces: left }, 'interfaces could not be removed; their slots stay taken, trying again')
    const milliseconds = Math.min(firstRetry * 2 ** (failures - 1), longestRetry)
    return delay(milliseconds, true, { signal: this.#stopping.signal }).catch(() => false)
  }
}

async function removeInterfaces(names: string[]): Promise<string[]> {
  try {
    using socket = NetlinkSocket.open()
    const links = names
      .map((name) => socket.get(linkByName(name)))
      .flatMap((found) => (found ? decodeLink(found)! : []))
    // Interfaces may go with their container's namespace meanwhile; what is refused then is as well.
    await socket.change([...links.map(({ name, index }) => changeLink(name, index, { group })), removeGroup(group)])
    return names.filter((name) => socket.get(linkByName(name)) !== undefined)
  } catch {
    return names
  }
}
