import { setTimeout as delay } from 'node:timers/promises'
import type { KindDefinition, KubeObject } from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { CsiError } from './csi-errors.ts'

/** Milliseconds before a watch that broke off is begun anew. */
const retryDelay = 20

/**
 * Waits until `look` sees in an object what is waited for, and returns what it says; `look` is given undefined when there
 * is no such object, may throw, and is asked again at every change. Returns 'late' after `patience` milliseconds.
 */
export async function waitForObject<T extends KubeObject, R extends object>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  name: string,
  patience: number,
  look: (object: T | undefined) => R | undefined,
): Promise<R | 'late'> {
  const signal = AbortSignal.timeout(patience)
  const fieldSelector = `metadata.name=${name}`
  for (;;) {
    try {
      const { items, resourceVersion } = await store.list(kind, { fieldSelector })
      const seen = look(items[0])
      if (seen) return seen
      if (signal.aborted) return 'late'
      for await (const event of store.watch(kind, { fieldSelector, resourceVersion, signal })) {
        if (event.type === 'BOOKMARK') continue
        const result = look(event.type === 'DELETED' ? undefined : event.object)
        if (result) return result
      }
    } catch (error) {
      // a connection that breaks is no answer: the object is looked at again
      const isBroken = error instanceof CarbonadoError && ['Expired', 'Unavailable'].includes(error.code)
      if (!isBroken || error instanceof CsiError || signal.aborted) throw error
      await delay(retryDelay)
    }
  }
}
