import { createHash } from 'node:crypto'
import type { AddRequest } from './wish.ts'

const hashLength = 10
const longestName = 63

/**
 * Name of the dynamic endpoint of a container interface: readable (pod or container, then interface) and made unique by
 * a hash of container id and interface name, so that a repeated ADD finds the same object. At most 63 characters.
 */
export function endpointNameFor(
  request: Pick<AddRequest, 'containerId' | 'interfaceName'> & { pod?: { name: string } },
): string {
  const { containerId, interfaceName, pod } = request
  const hash = createHash('sha256').update(`${containerId}\0${interfaceName}`).digest('hex').slice(0, hashLength)
  const suffix = `${asLabel(interfaceName) || 'interface'}-${hash}`
  const stem = asLabel(pod?.name ?? containerId.slice(0, 12)).slice(0, longestName - suffix.length - 1)
  return `${stem.replace(/[-.]+$/, '') || 'container'}-${suffix}`
}

/**
 * Name of the endpoint of a pod's interface, by the pod's uid: it is the same for every sandbox that the pod has in its
 * life, and known before the first. At most 63 characters.
 */
export function podEndpointNameFor(pod: { name: string; uid: string }, interfaceName: string): string {
  return endpointNameFor({ containerId: pod.uid, interfaceName, pod })
}

function asLabel(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^-a-z0-9.]+/g, '-')
    .replaceAll(/^[-.]+|[-.]+$/g, '')
}
