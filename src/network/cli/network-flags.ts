import type { Network, Subnet } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import { onePerFamily } from '../../verb/index.ts'
import { formatAddress, parseAddress, parseCidr, type Cidr, type Family } from '../addresses/ip-address.ts'
import { subnetSpace } from '../addresses/subnet-space.ts'

/** Flags of `network create`, as commander gives them. */
export interface NetworkCreateFlags {
  subnet: string[]
  start?: string[]
  end?: string[]
  gateway?: string[]
  gatewayMac?: string
  type?: string
  vlan?: number
  annotations?: Record<string, string>
  selectors?: string[]
  perfTier?: string
  networkGroup?: string
  zone?: string
  setDefault?: boolean
  secondary?: boolean
  hostNetwork?: boolean
  mtu?: number
}

/** Addresses that an IPv6 range without an end has, as many as an IPv6 subnet without ranges. */
const ipv6RangeSize = 1n << 16n

/** The network that `network create NAME` describes. Throws InvalidInput for what is wrong by itself. */
export function networkOf(name: string, flags: NetworkCreateFlags): Network {
  return {
    metadata: { name, ...(flags.annotations ? { annotations: flags.annotations } : {}) },
    spec: {
      subnets: subnetsOf(flags),
      plane: planeOf(flags.type),
      isDefault: flags.setDefault ?? false,
      ...(flags.vlan === undefined ? {} : { vlan: flags.vlan }),
      ...(flags.perfTier === undefined ? {} : { perfTierName: flags.perfTier }),
      ...(flags.networkGroup === undefined ? {} : { networkGroup: flags.networkGroup }),
      ...(flags.zone === undefined ? {} : { zone: flags.zone }),
      ...(flags.secondary ? { isSecondary: true } : {}),
      ...(flags.mtu === undefined ? {} : { mtu: flags.mtu }),
    },
  }
}

function subnetsOf(flags: NetworkCreateFlags): Subnet[] {
  const starts = onePerFamily('--start', flags.start)
  const ends = onePerFamily('--end', flags.end)
  const gateways = onePerFamily('--gateway', flags.gateway)
  const cidrs = flags.subnet.map((text) => parseCidr(text, '--subnet'))
  rejectStrays(cidrs, { '--start': starts, '--end': ends, '--gateway': gateways })
  return cidrs.map((cidr, index) => {
    const { family } = cidr
    const subnet: Subnet = { cidr: flags.subnet[index]!, ranges: rangesOf(cidr, starts[family], ends[family]) }
    if (gateways[family] !== undefined) subnet.gateway = gateways[family]
    subnetSpace(subnet) // throws for ranges and gateways that do not fit
    return subnet
  })
}

function rangesOf(cidr: Cidr, start: string | undefined, end: string | undefined): Subnet['ranges'] {
  if (start === undefined && end === undefined) return []
  const { family } = cidr
  const text = (value: bigint): string => formatAddress({ family, value })
  const first = start ?? text(cidr.first)
  const limit = family === 4 ? cidr.last : parseAddress(first).value + ipv6RangeSize - 1n
  return [{ start: first, end: end ?? text(limit < cidr.last ? limit : cidr.last) }]
}

function rejectStrays(cidrs: Cidr[], flags: Record<string, { 4?: string; 6?: string }>): void {
  const families = cidrs.map(({ family }) => family)
  for (const family of [4, 6] as Family[]) {
    if (families.filter((other) => other === family).length > 1) {
      throw new InvalidInput(`--subnet names two IPv${family} subnets`, {
        remedy: 'Give one subnet per IP family; make a second network for the other one.',
      })
    }
    for (const [flag, values] of Object.entries(flags)) {
      if (values[family] === undefined || families.includes(family)) continue
      throw new InvalidInput(
        `${flag} ${values[family]} is an IPv${family} address, and no IPv${family} subnet is given`,
        {
          remedy: `Add the IPv${family} subnet with -s, or leave ${flag} ${values[family]} out.`,
        },
      )
    }
  }
}

function planeOf(type: string | undefined): 'pods' | 'storage' {
  switch (type) {
    case undefined:
    case 'pods':
    case 'public': // what the original calls a network that is not for storage
      return 'pods'
    case 'storage':
      return 'storage'
    default:
      throw new InvalidInput(`--type "${type}" is not a type of network`, {
        remedy: 'Use pods (the default) or storage.',
      })
  }
}

/**
 * The subnets of a network with the last range of each named family ending at a later address.
 * Throws InvalidInput when an end is not later or lies outside of the subnet, or the whole subnet is in use already.
 */
export function extendedSubnets(network: Network, ends: string[]): Subnet[] {
  const wanted = onePerFamily('--end', ends)
  const cidrs = network.spec.subnets.map(({ cidr }) => parseCidr(cidr))
  rejectStrays(cidrs, { '--end': wanted })
  return network.spec.subnets.map((subnet, index) => {
    const end = wanted[cidrs[index]!.family]
    return end === undefined ? subnet : extended(subnet, end)
  })
}

function extended(subnet: Subnet, end: string): Subnet {
  const last = subnet.ranges.at(-1)
  if (!last) {
    throw new InvalidInput(
      `subnet ${subnet.cidr} has no range to extend: all of its addresses are handed out already`,
      {
        remedy: 'Nothing needs to be done.',
      },
    )
  }
  if (parseAddress(end, '--end').value <= parseAddress(last.end).value) {
    throw new InvalidInput(`--end ${end} is not after the end of the range, ${last.end}`, {
      remedy: 'A range can be extended, not shortened: give a later address.',
    })
  }
  const longer = { ...subnet, ranges: [...subnet.ranges.slice(0, -1), { start: last.start, end }] }
  subnetSpace(longer)
  return longer
}
