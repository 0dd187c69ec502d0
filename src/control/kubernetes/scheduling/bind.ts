import { Pod } from '../../../api/index.ts'
import type { Logger } from '../../../base/index.ts'
import type { PodEndpoints } from '../../../network/pods/index.ts'
import type { RestStore, SyncReader } from '../../../store/index.ts'
import type { Binding } from './extender.ts'

/** What pods are bound with. */
export interface BindParts {
  store: Pick<RestStore, 'request'>
  reader: SyncReader
  endpoints: PodEndpoints
  logger: Logger
}

/**
 * Gives a pod its node. Its endpoints are made first: control decides about them while kubelet hears of the pod. A pod
 * that cannot be prepared is bound all the same, because its agent makes what is missing.
 */
export async function bindPod(
  { store, reader, endpoints, logger }: BindParts,
  { PodName: name, PodNamespace: namespace, PodUID: uid, Node: nodeName }: Binding,
): Promise<void> {
  const pod = reader.get(Pod, { namespace, name })
  if (pod?.metadata.uid === uid) {
    await endpoints.prepare(pod, nodeName).catch((err: unknown) => {
      logger.warn({ err, pod: `${namespace}/${name}` }, 'the endpoints of a pod could not be made beforehand')
    })
  }
  const target = { apiVersion: 'v1', kind: 'Node', name: nodeName }
  const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name, namespace, uid }, target }
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/binding`
  await store.request('POST', path, binding)
}
