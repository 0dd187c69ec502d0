import { Endpoint, type KubeObject, type Network } from '../../api/index.ts'
import { Conflict } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'

/** Held by control on networks and tiers: the object goes only when nothing uses it any more. */
export const inUseFinalizer = 'carbonado.io/in-use'

const namesShown = 5

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

/** The error for deleting what is in use: names up to five users and counts the rest. */
export function inUse(what: string, userKind: string, users: string[], remedy: string): Conflict {
  const shown = users.slice(0, namesShown).join(', ')
  const more = users.length > namesShown ? ` and ${users.length - namesShown} more` : ''
  const plural = users.length === 1 ? userKind : `${userKind}s`
  return new Conflict(`${what} is in use by ${users.length} ${plural}: ${shown}${more}`, {
    remedy,
    details: { users: users.slice(0, namesShown), count: users.length },
  })
}
