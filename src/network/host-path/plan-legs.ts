import type { Network } from '../../api/index.ts'
import { contains, intersect, parseAddress, subnetSpaces, type AddressRange } from '../addresses/index.ts'
import { prefixesOf } from './prefixes.ts'

/** A leg that a node should have. */
export interface WantedLeg {
  vlan: number
  networkNames: string[]
  /** CIDRs of exactly the addresses that pods may have: other hosts of the subnet are reached as ever. */
  destinations: string[]
}

/** What a node should have, and networks that it reaches not, with the reason. */
export interface LegPlan {
  legs: WantedLeg[]
  excluded: Map<string, string>
}

/**
 * The legs of a node: one for each VLAN of pods. The node has one routing table for all networks, so of networks that
 * hand out the same addresses in different VLANs only the oldest is reached; others are for secondary interfaces.
 * `ownAddresses`: those of the node, which are nobody else's. A pure function.
 */
export function planLegs(networks: Network[], ownAddresses: string[]): LegPlan {
  const plan: LegPlan = { legs: [], excluded: new Map() }
  const accepted: { name: string; vlan: number; ranges: AddressRange[] }[] = []
  const own = ownAddresses.map((address) => parseAddress(address)).filter(({ family }) => family === 4)
  for (const network of networks.filter(({ spec }) => spec.plane === 'pods').toSorted(byAge)) {
    const { name } = network.metadata
    const vlan = network.spec.vlan ?? 0
    const ranges = subnetSpaces(network).flatMap(({ family, handOut }) => (family === 4 ? handOut : []))
    if (ranges.length === 0) plan.excluded.set(name, 'it has no IPv4 subnet')
    if (ranges.length === 0) continue
    const rival = accepted.find((other) => other.vlan !== vlan && intersect(other.ranges, ranges).length > 0)
    if (rival) plan.excluded.set(name, `network ${rival.name} hands out the same addresses in another VLAN`)
    else if (own.some(({ value }) => contains(ranges, value)))
      plan.excluded.set(name, 'it hands out an address that the node itself has') // prettier-ignore
    else accepted.push({ name, vlan, ranges })
  }
  for (const vlan of new Set(accepted.map((network) => network.vlan))) {
    const members = accepted.filter((network) => network.vlan === vlan)
    const destinations = [...new Set(members.flatMap(({ ranges }) => prefixesOf(4, ranges)))]
    plan.legs.push({ vlan, networkNames: members.map(({ name }) => name), destinations })
  }
  return plan
}

function byAge(one: Network, other: Network): number {
  const [age, otherAge] = [one, other].map(({ metadata }) => metadata.creationTimestamp ?? '')
  return age! < otherAge! ? -1 : age! > otherAge! ? 1 : one.metadata.name.localeCompare(other.metadata.name)
}
