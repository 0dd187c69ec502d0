import type { Network } from '../../api/index.ts'
import type { Column } from '../../verb/index.ts'
import { formatAddress } from '../addresses/ip-address.ts'
import { formatRanges, subnetSpaces } from '../addresses/subnet-space.ts'

function startAddresses(network: Network): string {
  return subnetSpaces(network)
    .map(({ family, handOut }) => formatAddress({ family, value: handOut[0]!.start }))
    .join(',')
}

function ranges(network: Network): string {
  return subnetSpaces(network)
    .map(({ family, handOut }) => formatRanges(family, handOut).replaceAll(' ', ''))
    .join(',')
}

/** Columns of `network list` and `network get`: the published ones, then those of `-o wide`. */
export const networkColumns: Column<Network>[] = [
  { header: 'NAME', value: ({ metadata }) => metadata.name },
  { header: 'TYPE', value: ({ spec }) => spec.plane },
  { header: 'START-ADDRESS', value: startAddresses },
  { header: 'TOTAL', value: ({ status }) => status?.usage?.total },
  { header: 'USED', value: ({ status }) => status?.usage?.used },
  { header: 'GATEWAY', value: ({ spec }) => spec.subnets.flatMap(({ gateway }) => gateway ?? []).join(',') },
  { header: 'VLAN', value: ({ spec }) => spec.vlan },
  { header: 'NETWORK-GROUP', value: ({ spec }) => spec.networkGroup },
  { header: 'ZONE', value: ({ spec }) => spec.zone },
  { header: 'SUBNET', value: ({ spec }) => spec.subnets.map(({ cidr }) => cidr).join(','), wide: true },
  { header: 'RANGES', value: ranges, wide: true },
  { header: 'PERF-TIER', value: ({ spec }) => spec.perfTierName, wide: true },
  { header: 'DEFAULT', value: ({ spec }) => (spec.isDefault ? 'yes' : 'no'), wide: true },
  { header: 'MTU', value: ({ spec }) => spec.mtu, wide: true },
]
