import {
  isDecidedAbout,
  l2DomainOf,
  type AddressClaim,
  type Allocation,
  type Endpoint,
  type MacClaim,
  type Network,
  type PerfTier,
  type Refusal,
} from '../../api/index.ts'
import type { CarbonadoError } from '../../base/index.ts'
import { bandwidthRates, nothing, type Amounts, type BandwidthRates } from '../../guarantee/index.ts'
import { formatAddress, parseAddress } from '../addresses/ip-address.ts'
import { subnetSpaces } from '../addresses/subnet-space.ts'

/** What control decided about an endpoint. */
export type Decision = Allocation | Refusal

/** Rates with the name of the tier they come from, as they stand in an allocation. */
export type TierRates = BandwidthRates & { perfTierName?: string }

/** The rates of an endpoint by its tier. */
export function tierRates(tier: PerfTier | undefined): TierRates {
  return { ...bandwidthRates(tier), ...(tier === undefined ? {} : { perfTierName: tier.metadata.name }) }
}

/** What an attached endpoint takes from its node. */
export function amountsOf({ bandwidthFloor }: BandwidthRates): Amounts {
  return { ...nothing, bandwidth: bandwidthFloor, interfaces: 1 }
}

/**
 * What an endpoint was promised, and where, as far as its object tells: its floor counts from the decision for the
 * holder it has now, and while it is attached.
 */
export function promisedTo(endpoint: Endpoint): { nodeName: string; amounts: Amounts } | undefined {
  const { spec, status } = endpoint
  const allocation = status?.allocation
  if (allocation?.state !== 'Allocated' || spec.nodeName === undefined) return undefined
  if (!isDecidedAbout(endpoint) && status?.attachment?.nodeName !== spec.nodeName) return undefined
  return { nodeName: spec.nodeName, amounts: amountsOf(allocation) }
}

/** The allocation that follows from claims and rates. */
export function allocationOf(
  endpoint: Endpoint,
  network: Network,
  claims: { addresses: AddressClaim[]; mac: MacClaim },
  { perfTierName, bandwidthFloor, bandwidthCap }: TierRates,
): Allocation {
  const spaces = subnetSpaces(network)
  const addresses = claims.addresses.map(({ spec }) => {
    const { family } = parseAddress(spec.address)
    const { cidr, gateway } = spaces.find((space) => space.family === family)!
    const route = gateway === undefined ? {} : { gateway: formatAddress({ family, value: gateway }) }
    return { address: spec.address, prefixLength: cidr.prefixLength, ...route }
  })
  return {
    state: 'Allocated',
    generation: endpoint.metadata.generation ?? 0,
    addresses,
    macAddress: claims.mac.spec.macAddress,
    vlan: network.spec.vlan ?? 0,
    ...(network.spec.mtu === undefined ? {} : { mtu: network.spec.mtu }),
    ...(perfTierName === undefined ? {} : { perfTierName }),
    bandwidthFloor,
    ...(bandwidthCap === undefined ? {} : { bandwidthCap }),
  }
}

/** The refusal that tells of an error. */
export function refusalOf(endpoint: Endpoint, { code, message, remedy }: CarbonadoError): Refusal {
  const { generation = 0 } = endpoint.metadata
  return { state: 'Refused', generation, code, message, ...(remedy === undefined ? {} : { remedy }) }
}

/** Whether an allocation has these rates. */
export function hasRates(allocation: Allocation, rates: TierRates): boolean {
  return (
    allocation.perfTierName === rates.perfTierName &&
    allocation.bandwidthFloor === rates.bandwidthFloor &&
    allocation.bandwidthCap === rates.bandwidthCap
  )
}

const decisionFields = [
  ...(['addresses', 'macAddress', 'vlan', 'mtu', 'perfTierName', 'bandwidthFloor', 'bandwidthCap'] as const),
  ...(['code', 'message', 'remedy'] as const),
]

/** The merge patch that replaces the decision of an endpoint as a whole: what the new one does not have is removed. */
export function decisionPatch(decision: Decision): object {
  const cleared = Object.fromEntries(decisionFields.map((field) => [field, null]))
  return { status: { allocation: { ...cleared, ...decision } } }
}

/**
 * Claims of an endpoint that its allocation does not name: left over by a write whose answer was lost. An endpoint that
 * is undecided or refused keeps all it has until it is decided anew or deleted, for it may be attached still.
 */
export function surplusOf(
  { status }: Endpoint,
  claims: { addresses: AddressClaim[]; macs: MacClaim[] },
): { addresses: AddressClaim[]; macs: MacClaim[] } {
  const allocation = status?.allocation
  if (allocation?.state !== 'Allocated') return { addresses: [], macs: [] }
  const kept = new Set(allocation.addresses.map(({ address }) => address))
  return {
    addresses: claims.addresses.filter((claim) => !kept.has(claim.spec.address)),
    macs: claims.macs.filter((claim) => claim.spec.macAddress !== allocation.macAddress),
  }
}

/** Those claims of an owner that count in a network: claims from before its VLAN changed do not. */
export function claimsIn<T extends AddressClaim | MacClaim>(network: Network, claims: T[]): T[] {
  return claims.filter(({ spec }) => spec.l2Domain === l2DomainOf(network))
}
