import type { ResourceStore } from '../../store/index.ts'
import type { NetworkEngine } from '../engine.ts'
import type { Journal } from './journal.ts'
import type { Interposed } from './test-node.ts'

/**
 * Kills an agent at one of the effects that it has on the world: right before or right after a call of the store, the
 * engine or the journal that changes something. From then on nothing of that run has any effect, as after kill -9. The
 * next run starts on the same store, kernel and journal. For unit tests only.
 */
export class KillSwitch {
  #killAt: number
  readonly #died = Promise.withResolvers<void>()
  #effects = 0
  isDead = false

  constructor(killAt: number) {
    this.#killAt = killAt
  }

  get died(): Promise<void> {
    return this.#died.promise
  }

  /** Chooses the effect, counted from now, at which it dies. */
  killAfter(effects: number): void {
    this.#killAt = this.#effects + effects + 1
  }

  /** Kills it now. */
  kill(): void {
    this.isDead = true
    this.#died.resolve()
  }

  /** Counts a point at which the agent may die; throws there and ever after. */
  point(): void {
    if (!this.isDead && ++this.#effects === this.#killAt) {
      this.isDead = true
      this.#died.resolve()
    }
    if (this.isDead) throw new Error('killed')
  }

  interpose(): Interposed {
    return {
      store: (store) => this.#wrap<ResourceStore>(store, ['create', 'update', 'patch', 'delete']),
      engine: (engine) => this.#wrap<NetworkEngine>(engine, ['attach', 'detach', 'shape']),
      journal: (journal) => this.#wrapJournal(journal),
    }
  }

  /** A dead agent waits for ever: nothing is rejected, nothing goes on. */
  #wrap<T extends object>(target: T, effects: string[]): T {
    return new Proxy(target, {
      get: (_, property) => {
        const value = Reflect.get(target, property) as unknown
        if (typeof value !== 'function') return value
        const call = (value as (...args: unknown[]) => Promise<unknown>).bind(target)
        return effects.includes(String(property)) ? (...args: unknown[]) => this.#run(() => call(...args)) : call
      },
    })
  }

  async #run(call: () => Promise<unknown>): Promise<unknown> {
    try {
      this.point()
    } catch {
      return new Promise(() => {})
    }
    const settled = await call().then(
      (value) => () => value,
      (error: unknown) => () => {
        throw error
      },
    )
    try {
      this.point()
    } catch {
      return new Promise(() => {})
    }
    return settled()
  }

  #wrapJournal(journal: Journal): Journal {
    const guarded = (effect: () => void): void => {
      this.point()
      effect()
      this.point()
    }
    return new Proxy(journal, {
      get: (_, property) => {
        if (property === 'put' || property === 'putAll' || property === 'delete' || property === 'confirmBoot') {
          const effect = (journal[property] as (value?: unknown) => void).bind(journal)
          return (value: unknown) => guarded(() => effect(value))
        }
        const value = Reflect.get(journal, property, journal) as unknown
        return typeof value === 'function' ? (value as () => unknown).bind(journal) : value
      },
    })
  }
}
