import { otherPlanes, type PlaneReserve } from '../../guarantee/index.ts'
import type { BpfInstruction, ClassFilter, TokenBucket, TrafficClass } from '../netlink/index.ts'
import type { LinkPlan } from './link-plan.ts'
import { interfaceIndexBase } from './map-layout.ts'

/** Rates in bits per second. */
export interface Rates {
  bandwidthFloor: number
  bandwidthCap?: number
}

/**
 * Share of the link that the root class may send: a little less than the link, so that frames wait here, where floors
 * are kept, and not in the switch or the driver. The rest covers preamble, gap and checksum (24 bytes a frame).
 */
export const linkShare = 0.98
/** Share of the link kept for the node's own traffic (management, control). */
const hostShare = 0.02
const bestEffortRate = 64_000
/** Minor of the class that frames without a class of their own are in: the node's. */
export const hostMinor = 0xfffe
const linkMinor = 0xffff
/** Minors of the classes of planes with a tag. */
const planeMinors = { management: 0xfffd, storage: 0xfffc } as const
/** Bytes that a class may send before another gets its turn: one large GSO packet. */
const quantum = 60_000

/** Burst in bytes: a millisecond at the rate, but at least one GSO packet of 64 KiB. */
function burst(rate: number): number {
  return Math.max(70_000, Math.ceil(rate / 8 / 1000))
}

/** `priority`: 0 is served first of what is left over when every class has had its rate. */
function trafficClass(
  minor: number,
  parent: number | undefined,
  rate: number,
  ceil: number,
  priority = 1,
): TrafficClass {
  return { minor, parent, rate, ceil, burst: burst(rate), ceilBurst: burst(ceil), priority, quantum }
}

/** The class of the link, that of the node's own traffic, and those of its planes with a tag. */
export function uplinkClasses({ linkRate, host, planes }: LinkPlan): TrafficClass[] {
  const root = linkRate * linkShare
  // Heartbeats go first; a plane that may send much shares what is left over like everybody.
  const hostPriority = host > 0 ? 1 : 0
  return [
    trafficClass(linkMinor, undefined, root, root, 0),
    trafficClass(hostMinor, linkMinor, Math.max(linkRate * hostShare, host), root, hostPriority),
    ...planes.map(({ plane, rate }) =>
      trafficClass(planeMinors[plane], linkMinor, Math.max(rate, bestEffortRate), root),
    ),
  ]
}

/** The filters that put what planes with a tag send into their classes. */
export function planeFilters({ planes }: LinkPlan): ClassFilter[] {
  return planes.map(({ plane, vlan }) => ({ ...planePlace(plane), program: isTagged(vlan) }))
}

/** Where planes with a tag would be that have nothing kept for them. */
export function unusedPlanePlaces({ planes }: LinkPlan): Pick<ClassFilter, 'priority' | 'minor'>[] {
  return otherPlanes.filter((plane) => !planes.some((kept) => kept.plane === plane)).map(planePlace)
}

function planePlace(plane: PlaneReserve['plane']): Pick<ClassFilter, 'priority' | 'minor'> {
  const minor = planeMinors[plane]
  return { priority: linkMinor - minor, minor }
}

/**
 * A classic BPF program that says whether a frame has the tag of a VLAN. VLAN devices put it beside the frame, where
 * only a program sees it; others write it into the frame.
 */
function isTagged(vlan: number): BpfInstruction[] {
  const ancillary = 0x1_0000_0000 - 4096 // SKF_AD_OFF of linux/filter.h
  const [tag, tagPresent] = [ancillary + 44, ancillary + 48] // SKF_AD_VLAN_TAG, SKF_AD_VLAN_TAG_PRESENT
  return [
    [48, 0, 0, tagPresent],
    [21, 0, 2, 1], // beside the frame
    [40, 0, 0, tag],
    [5, 0, 0, 3],
    [40, 0, 0, 12],
    [21, 0, 4, 0x8100], // in the frame
    [40, 0, 0, 14],
    [84, 0, 0, 0xfff],
    [21, 0, 1, vlan],
    [6, 0, 0, 0xffff_ffff],
    [6, 0, 0, 0],
  ]
}

/** The class of the endpoint in a slot. */
export function endpointClass(slot: number, rates: Rates, linkRate: number): TrafficClass {
  const root = linkRate * linkShare
  const ceil = Math.min(rates.bandwidthCap ?? root, root)
  const rate = Math.min(Math.max(rates.bandwidthFloor, bestEffortRate), ceil)
  return trafficClass(slot, linkMinor, rate, ceil)
}

/** A queue that lets a cap through in one direction: bytes for 30 ms, then frames are dropped. */
export function capBucket(cap: number): TokenBucket {
  const burstOfCap = Math.max(131_072, Math.ceil(cap / 8 / 100))
  return { rate: cap, burst: burstOfCap, limit: burstOfCap + Math.ceil((cap / 8) * 0.03) }
}

/** Name of the host side of the endpoint in a slot: fixed, so that a name never stands for two interface indexes. */
export function hostInterfaceName(slot: number): string {
  return `cbn${slot}`
}

/** Interface index of the host side of the endpoint in a slot. */
export function hostInterfaceIndex(slot: number): number {
  return interfaceIndexBase + slot
}
