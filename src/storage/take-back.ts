import { Volume } from '../api/index.ts'
import { findObject, isNotFound, isStale, type ResourceStore } from '../store/index.ts'

/** Whether control has no place for a volume. One that has a place may have data: what is refused there is a change of it. */
export function isWithoutPlace({ status }: Volume): boolean {
  return status?.code !== undefined && status.plexes.length === 0
}

/**
 * Deletes a volume that was seen without a place, in the very version that was seen: where there is room meanwhile, it may
 * be promised to somebody already. False when it was changed meanwhile; it is left as it is then, to be looked at again.
 */
export async function takeBack(store: ResourceStore, seen: Volume): Promise<boolean> {
  const { name, uid, resourceVersion } = seen.metadata
  try {
    await store.delete(Volume, { name }, { uid, resourceVersion })
    return true
  } catch (error) {
    if (isNotFound(error)) return true
    const now = isStale(error) ? await findObject(store, Volume, { name }) : seen
    if (now?.metadata.uid !== uid) return true
    if (now?.metadata.resourceVersion === resourceVersion) throw error
    return false
  }
}
