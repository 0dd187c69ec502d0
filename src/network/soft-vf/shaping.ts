import type { TokenBucket, TrafficClass } from '../netlink/index.ts'
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
export const hostShare = 0.02
const bestEffortRate = 64_000
/** Minor of the class that frames without a class of their own are in: the node's. */
export const hostMinor = 0xfffe
const linkMinor = 0xffff
/** Bytes that a class may send before another gets its turn: one large GSO packet. */
const quantum = 60_000

/** Burst in bytes: a millisecond at the rate, but at least one GSO packet of 64 KiB. */
function burst(rate: number): number {
  return Math.max(70_000, Math.ceil(rate / 8 / 1000))
}

function trafficClass(minor: number, parent: number | undefined, rate: number, ceil: number): TrafficClass {
  const priority = parent === undefined || minor === hostMinor ? 0 : 1
  return { minor, parent, rate, ceil, burst: burst(rate), ceilBurst: burst(ceil), priority, quantum }
}

/** The class of the link and that of the node's own traffic, on an uplink of `linkRate` bits per second. */
export function uplinkClasses(linkRate: number): TrafficClass[] {
  const root = linkRate * linkShare
  return [
    trafficClass(linkMinor, undefined, root, root),
    trafficClass(hostMinor, linkMinor, linkRate * hostShare, root),
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
