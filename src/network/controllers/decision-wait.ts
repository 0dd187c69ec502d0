import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDecidedAbout, type Endpoint } from '../../api/index.ts'
import type { Informer } from '../../store/index.ts'

/** Whether control has nothing more to decide about the generation of an endpoint that somebody has seen. */
export function isSettled(endpoint: Endpoint, generation: number): boolean {
  return endpoint.metadata.deletionTimestamp !== undefined || isDecidedAbout(endpoint, generation)
}

/** Tells those who have written an endpoint when it is decided about. */
export class DecisionWait {
  readonly #endpoints: Informer<Endpoint>
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(endpoints: Informer<Endpoint>) {
    this.#endpoints = endpoints
    endpoints.onChange(({ object }) => this.#wake(object.metadata.uid!))
  }

  /** Resolves when this generation of the endpoint is settled or it is gone, after `patience` milliseconds at the latest. */
  async settled({ metadata }: Endpoint, patience: number): Promise<void> {
    const uid = metadata.uid!
    const isDone = (): boolean => {
      const now = this.#endpoints.get(metadata)
      // not known yet: its creation has not come by; of another uid: it is gone
      return now !== undefined && (now.metadata.uid !== uid || isSettled(now, metadata.generation ?? 0))
    }
    const giveUp = performance.now() + patience
    while (!isDone() && performance.now() < giveUp) await this.#change(uid, giveUp - performance.now())
    if (!isDone()) await nextTurn() // decided in this very turn, perhaps, of a process that was too busy to see it earlier
  }

  #change(uid: string, milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting = this.#waiting.get(uid) ?? new Set()
    this.#waiting.set(uid, waiting.add(resolve))
    const timer = setTimeout(resolve, milliseconds)
    return promise.finally(() => {
      clearTimeout(timer)
      waiting.delete(resolve)
      if (waiting.size === 0) this.#waiting.delete(uid)
    })
  }

  #wake(uid: string): void {
    for (const resolve of this.#waiting.get(uid) ?? []) resolve()
  }
}
