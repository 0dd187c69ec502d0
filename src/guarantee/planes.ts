import { parseQuantity, type FoundUplink, type Node, type Plane } from '../api/index.ts'
import { promisableBandwidth } from './capacity.ts'

/** What is kept of the link of `pods` for another plane that sends over it. */
export interface PlaneReserve {
  plane: Exclude<Plane, 'pods'>
  /** Bits per second. */
  rate: number
  /** Tag of the plane's frames; absent: untagged, as everything that the node itself sends. */
  vlan?: number
}

/** Planes beside `pods` that the spec names. */
export const otherPlanes = ['management', 'storage'] as const

/** Whether a plane sends over the link of `pods`: as its agent found, else as far as the names of the devices tell. */
export function sharesPodsLink(spec: Node['spec'], plane: PlaneReserve['plane'], found: FoundUplink[] = []): boolean {
  const [own, pods] = [spec.uplinks[plane], spec.uplinks.pods]
  if (own === undefined) return false
  const linkOf = (wanted: Plane): string | undefined => {
    const uplink = found.find((each) => each.plane === wanted)
    return uplink?.interface === spec.uplinks[wanted]!.interface ? uplink.link : undefined
  }
  const [ownLink, podsLink] = [linkOf(plane), linkOf('pods')]
  if (ownLink !== undefined && podsLink !== undefined) return ownLink === podsLink
  return own.interface === pods.interface || own.interface.startsWith(`${pods.interface}.`)
}

/** What is kept of the link of `pods` for the node's other planes: those that share it and declare a rate. */
export function planeReserves(spec: Node['spec'], found: FoundUplink[] = []): PlaneReserve[] {
  return otherPlanes.flatMap((plane) => {
    const uplink = spec.uplinks[plane]
    if (uplink?.rate === undefined || !sharesPodsLink(spec, plane, found)) return []
    const vlan = found.find((each) => each.plane === plane)?.vlan ?? uplink.vlan
    const rate = parseQuantity(uplink.rate, `uplinks.${plane}.rate`)
    return [{ plane, rate, ...(vlan === undefined ? {} : { vlan }) }]
  })
}

/** Bits per second of a link that floors may add up to, beside what is kept for other planes. */
export function bandwidthForPods(linkRate: number, reserves: Pick<PlaneReserve, 'rate'>[]): number {
  return Math.max(0, promisableBandwidth(linkRate) - sumOfRates(reserves))
}

/** Shares from 0 to 1 of what was promised and declared that are enforced on a link. */
export interface EnforcedShares {
  /** Of every floor. */
  floors: number
  /** Of what is kept for every other plane. */
  reserves: number
}

/**
 * How a link is divided that may give less than was promised on it. What keeps the node alive comes first: the other
 * planes keep what was declared as long as the link has it at all. Then every floor is kept in the same proportion, so
 * that nobody's promise depends on who came first.
 */
export function enforcedShares(
  promised: number,
  linkRate: number,
  reserves: Pick<PlaneReserve, 'rate'>[],
): EnforcedShares {
  return {
    floors: shareOf(promised, bandwidthForPods(linkRate, reserves)),
    reserves: shareOf(sumOfRates(reserves), promisableBandwidth(linkRate)),
  }
}

function shareOf(wanted: number, there: number): number {
  return wanted <= there ? 1 : there / wanted
}

function sumOfRates(reserves: Pick<PlaneReserve, 'rate'>[]): number {
  return reserves.reduce((sum, { rate }) => sum + rate, 0)
}
