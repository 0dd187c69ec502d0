import { InvalidInput } from '../../base/index.ts'

/**
 * The API server that Kubernetes tells every pod of (documentation, "Accessing the Kubernetes API from a Pod").
 * Throws InvalidInput outside of a pod.
 */
export function inPodServer(environment: NodeJS.ProcessEnv = process.env): string {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = environment
  if (host) return host.includes(':') ? `https://[${host}]:${port}` : `https://${host}:${port}`
  throw new InvalidInput('the configuration names no API server, and this does not run in a pod, where there is one', {
    remedy: 'Add the address of the API server, https://HOST:PORT.',
  })
}
