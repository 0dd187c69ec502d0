import { CarbonadoError, Forbidden, InvalidInput, NotFound } from '../base/index.ts'
import type { ControlClient } from './world.ts'

/** As the agent has them, in `src/agent/visitors.ts`. */
const visitorHeader = 'x-carbonado-token'
const visitorAudience = 'carbonado.io/live'
const visitorAccount = 'carbonado-visitor'
/** Seconds; the least that the API server gives. */
const tokenLifetime = 600

/** Asks the agent of a node, by GET or with a body by POST: through control, or on Kubernetes through the API server. */
export async function askAgent<T>(client: ControlClient, nodeName: string, path: string, body?: object): Promise<T> {
  const throughControl = `/apis/carbonado.io/v1alpha1/nodes/${encodeURIComponent(nodeName)}/proxy/${path}`
  try {
    return await send<T>(client, throughControl, body)
  } catch (error) {
    // kube-apiserver knows no such path, and may forbid it before it notices
    if (!(error instanceof CarbonadoError) || !['NotFound', 'Forbidden'].includes(error.code)) throw error
    const pod = await podOfAgent(client, nodeName)
    if (pod === 'not Kubernetes') throw error
    return await throughApiServer<T>(client, pod, path, body)
  }
}

interface Pod {
  metadata: { name: string; namespace: string }
  spec: { containers: { ports?: { name?: string; containerPort: number }[] }[] }
}

async function podOfAgent(client: ControlClient, nodeName: string): Promise<Pod | 'not Kubernetes'> {
  const labelSelector = 'app.kubernetes.io/name=carbonado,app.kubernetes.io/component=agent'
  const query = new URLSearchParams({ labelSelector, fieldSelector: `spec.nodeName=${nodeName}` })
  let pods: Pod[]
  try {
    pods = (await client.getJson<{ items: Pod[] }>(`/api/v1/pods?${query}`)).items
  } catch (error) {
    if (error instanceof NotFound || error instanceof InvalidInput) return 'not Kubernetes'
    throw withRights(error)
  }
  if (pods[0]) return pods[0]
  throw new NotFound(`no agent runs on node "${nodeName}"`, {
    remedy: 'See: kubectl get pods -A -o wide -l app.kubernetes.io/component=agent',
  })
}

async function throughApiServer<T>(client: ControlClient, pod: Pod, path: string, body?: object): Promise<T> {
  const { name, namespace } = pod.metadata
  const port = pod.spec.containers.flatMap(({ ports = [] }) => ports).find((each) => each.name === 'https')
  try {
    const account = `/api/v1/namespaces/${namespace}/serviceaccounts/${visitorAccount}/token`
    const made = await client.request<{ status: { token: string } }>('POST', account, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: [visitorAudience], expirationSeconds: tokenLifetime },
    })
    const headers = { [visitorHeader]: made.status.token }
    const proxy = `/api/v1/namespaces/${namespace}/pods/https:${name}:${port?.containerPort}/proxy/${path}`
    return await send<T>(client, proxy, body, headers)
  } catch (error) {
    throw withRights(error)
  }
}

function send<T>(client: ControlClient, path: string, body?: object, headers?: Record<string, string>): Promise<T> {
  return body === undefined ? client.getJson<T>(path, headers) : client.request<T>('POST', path, body, headers)
}

function withRights(error: unknown): unknown {
  if (!(error instanceof Forbidden)) return error
  return new Forbidden(error.message, {
    remedy:
      'Live figures need the ClusterRole carbonado-viewer and, where Carbonado is installed, the Role carbonado-live.',
    cause: error,
  })
}
