import type { KindDefinition, KubeObject } from '../api/index.ts'
import { CarbonadoError } from '../base/index.ts'
import type { ObjectReference, ResourceStore } from '../store/index.ts'

const attempts = 10

/**
 * Reads an object and changes that very version of it. Starts again when somebody else has changed it in between
 * (controllers and agents write status all the time); a Conflict for any other reason is thrown.
 */
export async function changeCurrent<T extends KubeObject, R>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  reference: ObjectReference,
  change: (current: T) => Promise<R>,
): Promise<R> {
  let current = await store.get(kind, reference)
  for (let attempt = 1; ; attempt++) {
    try {
      return await change(current)
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code !== 'Conflict' || attempt === attempts) throw error
      const { resourceVersion } = current.metadata
      current = await store.get(kind, reference)
      if (current.metadata.resourceVersion === resourceVersion) throw error
    }
  }
}
