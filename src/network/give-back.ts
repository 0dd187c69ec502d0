import { attachmentFinalizer, Endpoint } from '../api/index.ts'
import { ignoreNotFound, type ResourceStore } from '../store/index.ts'
import { changeCurrent } from '../verb/index.ts'

/**
 * Takes an endpoint from a node that is off, by the statement of its administrator: a static one keeps its address and
 * can be used elsewhere at once; any other goes, and with it its address. Can be repeated; what an earlier run or another
 * administrator removed already is not missed.
 */
export async function giveBack(store: ResourceStore, endpoint: Endpoint): Promise<void> {
  await takeFromNode(store, endpoint).catch(ignoreNotFound)
}

async function takeFromNode(store: ResourceStore, endpoint: Endpoint): Promise<void> {
  const { name, namespace, uid } = endpoint.metadata
  const reference = { name, namespace }
  if (!endpoint.spec.isStatic && !endpoint.metadata.deletionTimestamp) await store.delete(Endpoint, reference, { uid })
  if (endpoint.status?.attachment) {
    const patch = { metadata: { uid }, status: { attachment: null } }
    await store.patch(Endpoint, reference, patch, { subresource: 'status' })
  }
  const free = endpoint.spec.isStatic ? { spec: { nodeName: null, holder: null } } : {}
  await changeCurrent(store, Endpoint, reference, (current) => {
    const { resourceVersion, finalizers = [] } = current.metadata
    if (current.metadata.uid !== uid || current.spec.nodeName !== endpoint.spec.nodeName)
      return Promise.resolve(current)
    const kept = finalizers.filter((finalizer) => finalizer !== attachmentFinalizer)
    return store.patch(Endpoint, reference, { metadata: { finalizers: kept }, ...free }, { resourceVersion })
  })
}
