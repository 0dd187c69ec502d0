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
const hostMinor = 0xfffe
const linkMinor = 0xffff
/** Bytes that a class may send before another gets its turn: one large GSO packet. */
const quantum = 60_000

function classId(minor: number): string {
  return `1:${minor.toString(16)}`
}

/** Burst in bytes: a millisecond at the rate, but at least one GSO packet of 64 KiB. */
function burst(rate: number): number {
  return Math.max(70_000, Math.ceil(rate / 8 / 1000))
}

function htbClass(device: string, parent: string, minor: number, rate: number, ceil: number, priority: number): string {
  return (
    `class replace dev ${device} parent ${parent} classid ${classId(minor)} htb rate ${Math.round(rate)}bit ` +
    `ceil ${Math.round(ceil)}bit burst ${burst(rate)} cburst ${burst(ceil)} prio ${priority} quantum ${quantum}`
  )
}

/** tc commands that make the tree of classes on an uplink of `linkRate` bits per second. */
export function uplinkCommands(device: string, linkRate: number): string[] {
  const tree = `qdisc replace dev ${device} root handle 1: htb default ${hostMinor.toString(16)}`
  return [tree, ...uplinkClassCommands(device, linkRate)]
}

/** tc commands that make or change the class of the link and that of the node's own traffic. */
export function uplinkClassCommands(device: string, linkRate: number): string[] {
  const root = linkRate * linkShare
  return [
    htbClass(device, '1:', linkMinor, root, root, 0),
    htbClass(device, classId(linkMinor), hostMinor, linkRate * hostShare, root, 0),
  ]
}

/** tc command that makes or changes the class of the endpoint in a slot. */
export function endpointClassCommand(device: string, slot: number, rates: Rates, linkRate: number): string {
  const root = linkRate * linkShare
  const ceil = Math.min(rates.bandwidthCap ?? root, root)
  const rate = Math.min(Math.max(rates.bandwidthFloor, bestEffortRate), ceil)
  return htbClass(device, classId(linkMinor), slot, rate, ceil, 1)
}

/** tc command that removes the class of a slot. */
export function removeClassCommand(device: string, slot: number): string {
  return `class del dev ${device} classid ${classId(slot)}`
}

/** tc command that removes the tree, and with it all classes; what waits in it is lost. */
export function removeTreeCommand(device: string): string {
  return `qdisc del dev ${device} root`
}

/** A queue that lets a cap through in one direction: bytes for 30 ms, then frames are dropped. */
export function capCommand(device: string, cap: number): string {
  const depth = Math.max(131_072, Math.ceil(cap / 8 / 100))
  const limit = depth + Math.ceil((cap / 8) * 0.03)
  return `qdisc replace dev ${device} root tbf rate ${Math.round(cap)}bit burst ${depth} limit ${limit}`
}

/** Name of the host side of the endpoint in a slot: fixed, so that a name never stands for two interface indexes. */
export function hostInterfaceName(slot: number): string {
  return `cbn${slot}`
}

/** Interface index of the host side of the endpoint in a slot. */
export function hostInterfaceIndex(slot: number): number {
  return interfaceIndexBase + slot
}

/** Slot of a traffic class such as 1:7; that of the link or the node's own traffic is beyond all slots. */
export function slotOfClass(handle: string): number {
  return parseInt(handle.split(':')[1] || '0', 16)
}
