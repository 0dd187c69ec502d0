import { Unavailable } from '../../base/index.ts'
import type { ContainerPlace } from '../engine.ts'
import type { ContainerEnd } from './container-side.ts'

/** An interface that belongs to no endpoint yet. */
export interface MadeInterface {
  slot: number
  inside: ContainerEnd
}

/** A container and the name of an interface in it. */
export type ContainerInterface = Pick<ContainerPlace, 'containerId' | 'interfaceName'>

/** How interfaces are made, and removed when nobody wants them. */
export interface SpareInterfacesParts {
  make(container: ContainerPlace): Promise<MadeInterface>
  remove(made: MadeInterface, container: ContainerPlace): Promise<void>
}

/**
 * Interfaces that belong to no endpoint yet, and those on their way out: two of the same name in one container wait for
 * each other.
 */
export class SpareInterfaces {
  readonly #parts: SpareInterfacesParts
  /** What was prepared and nobody has used yet, by its place. */
  readonly #prepared = new Map<string, Promise<MadeInterface>>()
  readonly #making = new Set<Promise<MadeInterface>>()
  /** Interfaces on their way out, by their place: until they are gone the name is taken. */
  readonly #leaving = new Map<string, Promise<unknown>>()
  /** Interfaces that an earlier run had made and not yet named: nobody knows whose name in which container they take. */
  #leavingSomewhere: Promise<unknown> = Promise.resolve()
  #isStopping = false

  constructor(parts: SpareInterfacesParts) {
    this.#parts = parts
  }

  /** Begins to make an interface that is probably wanted; disposing of it removes it unless it was taken. */
  prepare(container: ContainerPlace): Disposable {
    const place = placeOf(container)
    const making = this.#make(container)
    making.catch(() => {}) // whoever attaches sees it
    this.#prepared.set(place, making)
    return {
      [Symbol.dispose]: () => {
        if (this.#prepared.get(place) !== making) return
        this.#prepared.delete(place)
        // from now on, also while it is still being made, whoever wants the place waits; not made: nothing to remove
        const isGone = making.then((made) => this.#parts.remove(made, container))
        this.leave(container, isGone.catch(() => {})) // prettier-ignore
      },
    }
  }

  /** The interface that was prepared, or else a new one. */
  take(container: ContainerPlace): Promise<MadeInterface> {
    const prepared = this.#prepared.get(placeOf(container))
    this.#prepared.delete(placeOf(container))
    return prepared ?? this.#make(container)
  }

  /** Keeps others from a place until an interface there has gone; without a place, from all of them. */
  leave(container: ContainerInterface | undefined, removal: Promise<void>): void {
    if (!container) {
      this.#leavingSomewhere = Promise.all([this.#leavingSomewhere, removal])
      return
    }
    const place = placeOf(container)
    // what was to leave before may take longer, as it may not even be made
    const isFree = Promise.all([this.#leaving.get(place), removal])
    this.#leaving.set(place, isFree)
    void isFree.then(() => {
      if (this.#leaving.get(place) === isFree) this.#leaving.delete(place)
    })
  }

  /** Makes no more interfaces, and waits for those that are being made. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.allSettled(this.#making)
  }

  async #make(container: ContainerPlace): Promise<MadeInterface> {
    await Promise.all([this.#leaving.get(placeOf(container)), this.#leavingSomewhere])
    if (this.#isStopping) throw new Unavailable('the agent is being stopped', { remedy: 'Try again.' })
    const making = this.#parts.make(container)
    this.#making.add(making)
    return making.finally(() => this.#making.delete(making))
  }
}

function placeOf({ containerId, interfaceName }: ContainerInterface): string {
  return `${containerId}/${interfaceName}`
}
