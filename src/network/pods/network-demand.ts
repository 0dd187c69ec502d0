import { Endpoint, Network, PerfTier, type Pod } from '../../api/index.ts'
import { InvalidInput, NotFound } from '../../base/index.ts'
import { isNotFound, type SyncReader } from '../../store/index.ts'
import { existingNetwork } from '../admission/references.ts'
import { tierNameOf } from '../admission/network-users.ts'
import { chooseNetwork } from '../attachments/choose-network.ts'
import type { EndpointWish } from '../attachments/wish.ts'
import { tierRates } from '../controllers/allocation.ts'
import { interfaceNameOf, wishesOfPod } from './pod-wishes.ts'

/** What a pod takes of a node and of networks. */
export interface NetworkDemand {
  interfaces: number
  /** Bits per second promised to its interfaces in all. */
  bandwidth: number
  /** Networks that its interfaces are in. */
  networkNames: string[]
  /** How many new addresses it takes of each network; static endpoints have theirs. */
  newAddresses: Record<string, number>
}

/** One interface of a pod, looked up. */
interface Demanded {
  network: Network
  floor: number
  isNew: boolean
}

/**
 * What the network of a pod takes. Throws InvalidInput for annotations that are wrong, NotFound for networks, tiers and
 * endpoints that they name and that do not exist; a pod without annotations is content with no default network.
 */
export function networkDemandOf(pod: Pod, reader: SyncReader): NetworkDemand {
  const wishes = wishesOfPod(pod)
  const namespace = pod.metadata.namespace ?? 'default'
  const demanded = wishes.flatMap(({ wish }, number) => {
    const found = demandedBy(wish, namespace, reader)
    if (found && number === 0) requirePrimary(found.network)
    return found ? [found] : []
  })
  const newAddresses: Record<string, number> = {}
  for (const { network, isNew } of demanded) {
    const { name } = network.metadata
    if (isNew) newAddresses[name] = (newAddresses[name] ?? 0) + 1
  }
  return {
    interfaces: wishes.length,
    bandwidth: demanded.reduce((sum, { floor }) => sum + floor, 0),
    networkNames: [...new Set(demanded.map(({ network }) => network.metadata.name))],
    newAddresses,
  }
}

function demandedBy(wish: EndpointWish, namespace: string, reader: SyncReader): Demanded | undefined {
  if (wish.kind === 'static') return ofEndpoint(staticEndpoint(wish.endpointName, namespace, reader), reader)
  if (wish.kind === 'any-static') return ofPrefix(wish.prefix, namespace, reader)
  const isUsual = wish.networkName === undefined && wish.networkGroup === undefined
  const network = wish.networkName === undefined ? chosen(wish.networkGroup, reader) : existingNetwork(wish.networkName, reader) // prettier-ignore
  if (!network && isUsual && wish.perfTierName === undefined) return undefined
  const tierName = wish.perfTierName ?? network?.spec.perfTierName
  const floor = tierName === undefined ? 0 : floorOf(tierName, reader)
  if (network) return { network, floor, isNew: true }
  throw new NotFound('the pod names no network and there is no default network', {
    remedy: 'Name one in carbonado.io/endpoint0, or make one the default: dctl network update NAME --set-default.',
  })
}

/** The network of a group, or the default one; undefined when there is no default. Throws NotFound for a group. */
function chosen(group: string | undefined, reader: SyncReader): Network | undefined {
  try {
    return reader.get(Network, { name: chooseNetwork(reader.list(Network), group) })
  } catch (error) {
    if (group === undefined && isNotFound(error)) return undefined
    throw error
  }
}

function floorOf(tierName: string, reader: SyncReader): number {
  const tier = reader.get(PerfTier, { name: tierName })
  if (tier) return tierRates(tier).bandwidthFloor
  throw new NotFound(`perf-tier ${tierName} does not exist`, {
    remedy: 'Choose one from `dctl perf-tier list`, or create it with `dctl perf-tier create`.',
  })
}

function staticEndpoint(name: string, namespace: string, reader: SyncReader): Endpoint {
  const endpoint = reader.get(Endpoint, { namespace, name })
  if (endpoint?.spec.isStatic) return endpoint
  if (endpoint) {
    throw new InvalidInput(`endpoint ${namespace}/${name} is not static: it belongs to one container only`, {
      remedy: 'Name a static endpoint in endpointId, or leave endpointId out.',
    })
  }
  throw new NotFound(`static endpoint ${namespace}/${name} does not exist`, {
    remedy: `Create it: dctl endpoint create ${name} -n NETWORK --ns ${namespace}.`,
  })
}

/** Of several that it may become the one with the highest floor counts. */
function ofPrefix(prefix: string, namespace: string, reader: SyncReader): Demanded {
  const isOfPrefix = ({ metadata: { name }, spec }: Endpoint): boolean =>
    spec.isStatic && name.startsWith(`${prefix}-`) && /^(0|[1-9][0-9]*)$/.test(name.slice(prefix.length + 1))
  const all = reader.list(Endpoint, { namespace }).filter(isOfPrefix)
  const [largest] = all.map((endpoint) => ofEndpoint(endpoint, reader)).sort((one, other) => other.floor - one.floor)
  if (largest) return largest
  throw new NotFound(`there is no static endpoint ${prefix}-0, ${prefix}-1, ... in namespace ${namespace}`, {
    remedy: `Create them: dctl endpoint create ${prefix}-0 -n NETWORK --ns ${namespace}.`,
  })
}

function ofEndpoint(endpoint: Endpoint, reader: SyncReader): Demanded {
  const network = existingNetwork(endpoint.spec.networkName, reader)
  const tierName = tierNameOf(endpoint, network)
  return { network, floor: tierName === undefined ? 0 : floorOf(tierName, reader), isNew: false }
}

/** Subnets of networks for further interfaces may overlap with others, so that no pod is reached by its address there. */
function requirePrimary({ metadata: { name }, spec }: Network): void {
  if (!spec.isSecondary) return
  throw new InvalidInput(`network ${name} is for further interfaces only, and cannot be ${interfaceNameOf(0)} of a pod`, {
    remedy: `Ask for it in carbonado.io/endpoint1 beside another network in endpoint0.`,
  }) // prettier-ignore
}
