import type { KindDefinition, KubeObject } from '../api/index.ts'
import { CarbonadoError } from '../base/index.ts'
import type { ObjectReference, ResourceStore } from './resource-store.ts'

/** An object as it is in the store now; undefined when there is none. Other errors are those of `get`. */
export async function findObject<T extends KubeObject>(
  store: Pick<ResourceStore, 'get'>,
  kind: KindDefinition<T>,
  reference: ObjectReference,
): Promise<T | undefined> {
  return store.get(kind, reference).catch(ignoreNotFound)
}

/** For `catch` where what is not there needs nothing more: undefined for NotFound, any other error is thrown again. */
export function ignoreNotFound(error: unknown): undefined {
  if (!isNotFound(error)) throw error
}

/** Whether something failed because the object does not exist. */
export function isNotFound(error: unknown): error is CarbonadoError {
  return error instanceof CarbonadoError && error.code === 'NotFound'
}

/** Whether a write failed because the object was changed or went away meanwhile: look again. */
export function isStale(error: unknown): boolean {
  return isNotFound(error) || (error instanceof CarbonadoError && error.code === 'Conflict')
}
