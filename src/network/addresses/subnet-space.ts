import type { Network, Subnet } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import { byStart, contains, sizeOf, subtract, type AddressRange } from './address-range.ts'
import {
  addressBits,
  formatAddress,
  formatCidr,
  isInCidr,
  parseAddress,
  parseCidr,
  type Cidr,
  type Family,
} from './ip-address.ts'

/** Addresses of an IPv6 subnet without ranges that are handed out: its first 2^16. */
const defaultIpv6Addresses = 1n << 16n

/** A subnet as numbers: what may be handed out of it and what never is. */
export interface SubnetSpace {
  family: Family
  cidr: Cidr
  gateway?: bigint
  /** The ranges as declared (or by default), sorted, still with the reserved addresses in them. */
  ranges: AddressRange[]
  /** Never handed out: network and broadcast address (subnet-router anycast in IPv6) and gateway. */
  reserved: AddressRange[]
  /** Ranges less reserved: everything that an endpoint may get or ask for. */
  handOut: AddressRange[]
}

/**
 * Reads a subnet. Throws InvalidInput for everything that is wrong with it by itself: CIDR, ranges outside of it,
 * backwards or overlapping, gateway outside or reserved, no address left to hand out.
 */
export function subnetSpace(subnet: Subnet): SubnetSpace {
  const cidr = parseCidr(subnet.cidr)
  rejectSpecial(cidr)
  const ranges = subnet.ranges.length === 0 ? [defaultRange(cidr)] : subnet.ranges.map((r) => rangeOf(r, cidr))
  ranges.sort(byStart)
  rejectOverlap(ranges, cidr)
  const ends = endsOf(cidr)
  const gateway = subnet.gateway === undefined ? undefined : gatewayOf(subnet.gateway, cidr, ends)
  const reserved = [...ends, ...(gateway === undefined ? [] : [gateway])].map((value) => ({ start: value, end: value }))
  const handOut = subtract(ranges, reserved)
  if (sizeOf(handOut) === 0n) {
    throw new InvalidInput(`subnet ${formatCidr(cidr)} has no address to hand out: all of its ranges are reserved`, {
      remedy: 'Widen the ranges beyond the network, broadcast and gateway address.',
    })
  }
  return { family: cidr.family, cidr, ...(gateway === undefined ? {} : { gateway }), ranges, reserved, handOut }
}

const spaces = new WeakMap<Subnet, SubnetSpace>()

/** The spaces of all subnets of a network; at most one per family (InvalidInput otherwise). Cached by object. */
export function subnetSpaces(network: Network): SubnetSpace[] {
  const found = network.spec.subnets.map((subnet) => {
    const space = spaces.get(subnet) ?? subnetSpace(subnet)
    spaces.set(subnet, space)
    return space
  })
  if (new Set(found.map(({ family }) => family)).size < found.length) {
    throw new InvalidInput(
      `network ${network.metadata.name} has two IPv${found[0]!.family} subnets; one per family is possible`,
      {
        remedy: 'Make a second network for the second subnet; it may use the same VLAN.',
      },
    )
  }
  return found
}

/** Writes ranges as `10.0.0.1-10.0.0.9, 10.0.0.20`. */
export function formatRanges(family: Family, ranges: AddressRange[]): string {
  const text = (value: bigint): string => formatAddress({ family, value })
  return ranges.map(({ start, end }) => (start === end ? text(start) : `${text(start)}-${text(end)}`)).join(', ')
}

/** Addresses at the ends that are not hosts; point-to-point subnets have none (RFC 3021, RFC 6164). */
function endsOf({ family, prefixLength, first, last }: Cidr): bigint[] {
  if (prefixLength >= addressBits[family] - 1) return []
  return family === 4 ? [first, last] : [first]
}

function defaultRange({ family, first, last }: Cidr): AddressRange {
  if (family === 4 || last - first < defaultIpv6Addresses) return { start: first, end: last }
  return { start: first, end: first + defaultIpv6Addresses - 1n }
}

function rangeOf(range: { start: string; end: string }, cidr: Cidr): AddressRange {
  const start = parseAddress(range.start, 'start of the range')
  const end = parseAddress(range.end, 'end of the range')
  const text = `range ${range.start}-${range.end}`
  const inside = [{ start: cidr.first, end: cidr.last }]
  for (const { family, value } of [start, end]) {
    if (family !== cidr.family || !contains(inside, value)) {
      throw new InvalidInput(`${text} is not inside the subnet ${formatCidr(cidr)}`, {
        remedy: `Choose addresses from ${formatRanges(cidr.family, inside)}.`,
      })
    }
  }
  if (start.value > end.value) {
    throw new InvalidInput(`${text} ends before it starts`, { remedy: 'Swap start and end.' })
  }
  return { start: start.value, end: end.value }
}

function rejectOverlap(sorted: AddressRange[], { family }: Cidr): void {
  for (const [index, range] of sorted.entries()) {
    const next = sorted[index + 1]
    if (next && next.start <= range.end) {
      throw new InvalidInput(`ranges ${formatRanges(family, [range])} and ${formatRanges(family, [next])} overlap`, {
        remedy: 'Join them into one range or make them disjoint.',
      })
    }
  }
}

const linkLocal = 'fe80::/10'
const linkLocalAddresses = parseCidr(linkLocal)

/** An address of the subnet, or a link-local one: many IPv6 routers have no other that stays (RFC 4861, section 6.1.2). */
function gatewayOf(text: string, cidr: Cidr, ends: bigint[]): bigint {
  const gateway = parseAddress(text, 'gateway')
  const { value } = gateway
  if (cidr.family === gateway.family && isInCidr(linkLocalAddresses, gateway)) return value
  if (!isInCidr(cidr, gateway)) {
    const other = cidr.family === 6 ? 'or its link-local address, ' : ''
    throw new InvalidInput(`gateway ${text} is not inside the subnet ${formatCidr(cidr)}`, {
      remedy: `Choose the address of the router in that subnet, ${other}or leave the gateway out.`,
    })
  }
  if (ends.includes(value)) {
    throw new InvalidInput(`gateway ${text} is the network or broadcast address of ${formatCidr(cidr)}`, {
      remedy: 'Choose a host address of that subnet.',
    })
  }
  return value
}

const special: { cidr: string; what: string }[] = [
  { cidr: '0.0.0.0/8', what: 'unspecified addresses' },
  { cidr: '127.0.0.0/8', what: 'loopback addresses' },
  { cidr: '224.0.0.0/3', what: 'multicast and reserved addresses' },
  { cidr: '::/127', what: 'unspecified and loopback addresses' },
  { cidr: linkLocal, what: 'link-local addresses' },
  { cidr: 'ff00::/8', what: 'multicast addresses' },
]

function rejectSpecial(cidr: Cidr): void {
  for (const { cidr: text, what } of special) {
    const other = parseCidr(text)
    if (other.family === cidr.family && other.first <= cidr.last && other.last >= cidr.first) {
      throw new InvalidInput(`subnet ${formatCidr(cidr)} overlaps ${text} (${what})`, {
        remedy: 'Use a unicast subnet such as 10.30.0.0/24 or fd00:30::/64.',
      })
    }
  }
}
