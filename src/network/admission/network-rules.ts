import { isDeepStrictEqual } from 'node:util'
import { AddressClaim, l2DomainOf, Network, type Endpoint } from '../../api/index.ts'
import { Conflict, InvalidInput } from '../../base/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { contains, intersect } from '../addresses/address-range.ts'
import { formatCidr, formatAddress, parseAddress } from '../addresses/ip-address.ts'
import { formatRanges, subnetSpaces, type SubnetSpace } from '../addresses/subnet-space.ts'
import { blockingUsers, endpointsOfNetwork, endpointTitle } from './network-users.ts'
import { checkTierExists } from './references.ts'

/** Checks a network that is about to be created. Throws InvalidInput, NotFound, Conflict. */
export function admitNetworkCreate(network: Network, reader: SyncReader): void {
  const spaces = subnetSpaces(network)
  if (network.spec.perfTierName !== undefined) checkTierExists(network.spec.perfTierName, reader)
  checkOthers(network, spaces, reader)
}

/** Checks a change: what endpoints depend on stays, and no used address falls out of the ranges. */
export function admitNetworkUpdate(network: Network, existing: Network, reader: SyncReader): void {
  if (network.metadata.deletionTimestamp || sameSpec(network, existing)) return
  const spaces = subnetSpaces(network)
  const { perfTierName } = network.spec
  if (perfTierName !== undefined && perfTierName !== existing.spec.perfTierName) checkTierExists(perfTierName, reader)
  const users = endpointsOfNetwork(reader, network.metadata.name)
  if (users.length > 0) checkImmutable(network, spaces, existing, users)
  checkUsedAddresses(network, spaces, reader)
  checkOthers(network, spaces, reader)
}

/** Refuses to delete a network that endpoints use. */
export function admitNetworkDelete(network: Network, reader: SyncReader): void {
  const users = blockingUsers(network, endpointsOfNetwork(reader, network.metadata.name)).map(endpointTitle)
  if (users.length === 0) return
  const remedy = 'Stop the containers that use it and delete its static endpoints first.'
  throw inUse(`network ${network.metadata.name}`, 'endpoint', users, remedy)
}

function sameSpec(one: Network, other: Network): boolean {
  return isDeepStrictEqual(one.spec, other.spec)
}

function checkImmutable(network: Network, spaces: SubnetSpace[], existing: Network, users: Endpoint[]): void {
  const { name } = network.metadata
  const remedy = 'Make another network and move the endpoints there, or delete the endpoints first.'
  const refuse = (field: string, from: string, to: string): never => {
    const by = `${users.length} endpoint${users.length === 1 ? ' uses' : 's use'}`
    throw new Conflict(`network ${name}: ${field} cannot change from ${from} to ${to} while ${by} it`, { remedy })
  }
  if (l2DomainOf(network) !== l2DomainOf(existing)) {
    const text = ({ spec }: Network): string => `${spec.vlan ?? 'untagged'} on ${spec.plane}`
    refuse('vlan', text(existing), text(network))
  }
  const text = (list: SubnetSpace[]): string => list.map(({ cidr }) => formatCidr(cidr)).join(', ')
  const before = subnetSpaces(existing)
  if (text(spaces) !== text(before)) refuse('subnet', text(before), text(spaces))
}

function checkUsedAddresses(network: Network, spaces: SubnetSpace[], reader: SyncReader): void {
  const { name } = network.metadata
  const claims = reader.list(AddressClaim, { fieldSelector: `spec.networkName=${name}` })
  for (const { spec } of claims) {
    if (spec.l2Domain !== l2DomainOf(network)) continue
    const { family, value } = parseAddress(spec.address)
    const space = spaces.find((candidate) => candidate.family === family)
    if (space && contains(space.handOut, value)) continue
    const { namespace, name: user } = spec.endpoint
    throw new Conflict(
      `network ${name}: ${spec.address} is used by endpoint ${namespace}/${user} and would no longer be handed out`,
      { remedy: 'Keep the ranges and the gateway clear of used addresses, or delete that endpoint first.' },
    )
  }
}

function checkOthers(network: Network, spaces: SubnetSpace[], reader: SyncReader): void {
  for (const other of reader.list(Network)) {
    if (other.metadata.name === network.metadata.name) continue
    if (network.spec.isDefault && other.spec.isDefault) throw secondDefault(network, other)
    if (l2DomainOf(other) !== l2DomainOf(network)) continue
    for (const space of spaces) {
      for (const otherSpace of subnetSpaces(other)) checkPair(network, space, other, otherSpace)
    }
  }
}

function secondDefault(network: Network, other: Network): Conflict {
  const name = other.metadata.name
  return new Conflict(`network ${network.metadata.name} cannot be the default: ${name} is`, {
    remedy: `Run \`dctl network update ${name} --clear-default\` first.`,
  })
}

/** Two subnets on one wire are the same or disjoint; of the same one, each address belongs to one network at most. */
function checkPair(network: Network, space: SubnetSpace, other: Network, otherSpace: SubnetSpace): void {
  if (space.family !== otherSpace.family || disjoint(space, otherSpace)) return
  const where = `${other.metadata.name} in the same L2 domain (${l2DomainOf(network)})`
  const [mine, theirs] = [formatCidr(space.cidr), formatCidr(otherSpace.cidr)]
  if (mine !== theirs) {
    throw new Conflict(`subnet ${mine} overlaps ${theirs} of network ${where}`, {
      remedy: 'Use the very same subnet with other ranges, another subnet, or another VLAN.',
    })
  }
  const common = intersect(space.handOut, otherSpace.handOut)
  if (common.length > 0) {
    throw new Conflict(`${formatRanges(space.family, common)} is also handed out by network ${where}`, {
      remedy: 'Give each network ranges of its own, or use another VLAN.',
    })
  }
  checkGateway(space, otherSpace, `network ${where}`)
  checkGateway(otherSpace, space, `this network (${network.metadata.name})`)
}

function checkGateway({ gateway, family }: SubnetSpace, { handOut }: SubnetSpace, where: string): void {
  if (gateway === undefined || !contains(handOut, gateway)) return
  const text = formatAddress({ family, value: gateway })
  throw new InvalidInput(`gateway ${text} lies in a range that is handed out by ${where}`, {
    remedy: 'Take the gateway out of that range, or name it as the gateway of both networks.',
  })
}

function disjoint({ cidr }: SubnetSpace, { cidr: other }: SubnetSpace): boolean {
  return cidr.last < other.first || other.last < cidr.first
}
