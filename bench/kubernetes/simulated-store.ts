import { once } from 'node:events'
import type { KindDefinition, KubeObject } from '../../src/api/index.ts'
import { Unavailable } from '../../src/base/index.ts'
import type { ListOptions, ObjectList, ResourceStore, WatchEvent, WatchOptions } from '../../src/store/index.ts'

/** Objects that never change, as a store to fill informers from. */
export class SimulatedStore implements ResourceStore {
  readonly #objects = new Map<KindDefinition<never>, KubeObject[]>()
  #version = 0

  /** Adds objects of a kind; uid and version are made up where they are missing. */
  fill<T extends KubeObject>(kind: KindDefinition<T>, objects: T[]): void {
    const made = objects.map((object) => {
      const resourceVersion = String(++this.#version)
      return { ...object, metadata: { uid: `uid-${resourceVersion}`, resourceVersion, ...object.metadata } }
    })
    this.#objects.set(kind as never, made)
  }

  list<T extends KubeObject>(kind: KindDefinition<T>, _options?: ListOptions): Promise<ObjectList<T>> {
    const items = (this.#objects.get(kind as never) ?? []) as T[]
    return Promise.resolve({ items: structuredClone(items), resourceVersion: String(this.#version) })
  }

  async *watch<T extends KubeObject>(
    _kind: KindDefinition<T>,
    { signal }: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void> {
    if (signal && !signal.aborted) await once(signal, 'abort')
  }

  get = unsupported
  create = unsupported
  update = unsupported
  updateStatus = unsupported
  patch = unsupported
  delete = unsupported
  close = (): Promise<void> => Promise.resolve()
}

function unsupported(): Promise<never> {
  return Promise.reject(new Unavailable('a simulated store is only listed'))
}
