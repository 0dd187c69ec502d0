import { bandwidthResource, interfacesResource, kubernetesQuantity, type Pod } from '../../api/index.ts'
import type { NetworkDemand } from './network-demand.ts'

/** One operation of a JSON patch (RFC 6902). */
export type JsonPatchOperation = { op: 'add'; path: string; value: unknown } | { op: 'remove'; path: string }

const names = [interfacesResource, bandwidthResource]

/**
 * The patch with which a pod requests what its network takes, so that the scheduler of Kubernetes accounts for it. The
 * first container carries it; what others say of these resources is removed, such as in a pod that was copied.
 */
export function resourcesPatch(pod: Pod, { interfaces, bandwidth }: NetworkDemand): JsonPatchOperation[] {
  const wanted = { [interfacesResource]: interfaces, [bandwidthResource]: bandwidth }
  return pod.spec.containers.flatMap(({ resources = {} }, index): JsonPatchOperation[] => {
    const path = `/spec/containers/${index}/resources`
    const next = { ...resources }
    for (const part of ['requests', 'limits'] as const) {
      const kept = Object.entries(resources[part] ?? {}).filter(([name]) => !names.includes(name))
      const own = index === 0 ? Object.entries(wanted).filter(([, amount]) => amount > 0) : []
      const merged = Object.fromEntries([...kept, ...own.map(([name, amount]) => [name, String(amount)])])
      if (resources[part] !== undefined || own.length > 0) next[part] = merged
    }
    const isSame = JSON.stringify(next) === JSON.stringify(resources)
    return isSame ? [] : [{ op: 'add', path, value: next }]
  })
}

/**
 * What the containers of a pod request of our resources: interfaces as a count, bandwidth in bits per second. What is no
 * quantity counts as nothing: one pod must not keep anybody from reckoning with the others.
 */
export function requestedBy({ spec }: Pod): { interfaces: number; bandwidth: number } {
  const sum = (name: string): number =>
    spec.containers.reduce((total, { resources }) => total + (kubernetesQuantity(resources?.requests?.[name]) ?? 0), 0)
  return { interfaces: sum(interfacesResource), bandwidth: sum(bandwidthResource) }
}
