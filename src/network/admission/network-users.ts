import { Endpoint, type KubeObject, type Network } from '../../api/index.ts'
import type { SyncReader } from '../../store/index.ts'

/** Held by control on networks and tiers: the object goes only when nothing uses it any more. */
export const inUseFinalizer = 'carbonado.io/in-use'

/** The endpoints of a network, attached or not. */
export function endpointsOfNetwork(reader: SyncReader, networkName: string): Endpoint[] {
  return reader.list(Endpoint, { fieldSelector: `spec.networkName=${networkName}` })
}

/** The tier of an endpoint: its own, else its network's, else none. */
export function tierNameOf(endpoint: Endpoint, network: Network | undefined): string | undefined {
  return endpoint.spec.perfTierName ?? network?.spec.perfTierName
}

/** Endpoints that have a tier, by themselves or through their network. */
export function endpointsOfTier(endpoints: Endpoint[], networks: Network[], tierName: string): Endpoint[] {
  const byName = new Map(networks.map((network) => [network.metadata.name, network]))
  return endpoints.filter((endpoint) => tierNameOf(endpoint, byName.get(endpoint.spec.networkName)) === tierName)
}

/** Those users that forbid a deletion: endpoints that are going themselves do not, where the finalizer waits for them. */
export function blockingUsers(used: KubeObject, users: Endpoint[]): Endpoint[] {
  if (!used.metadata.finalizers?.includes(inUseFinalizer)) return users
  return users.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
}

/** `namespace/name` of an endpoint, as people write it. */
export function endpointTitle({ metadata }: Endpoint): string {
  return `${metadata.namespace}/${metadata.name}`
}
