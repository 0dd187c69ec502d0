import { isIPv6 } from 'node:net'
import { addressBytes, addressOfBytes } from '../addresses/ip-address.ts'
import { dropReasons, type DropReason, type EndpointCounters } from '../engine.ts'

/** Mirrors bpf/soft-vf.h; a test holds sizes and offsets against the compiled programs. */
export const maximumSlots = 4096
export const interfaceIndexBase = 65536
export const endpointSize = 80
export const countersSize = 384
export const trafficSize = 64
export const forwardingKeySize = 8
const cappedFlag = 1
const hostLegFlag = 2

/** Configuration of one endpoint as the programs see it; rates in bits per second. */
export interface EndpointEntry {
  endpointId: string
  macAddress: string
  vlan: number
  addresses: string[]
  bandwidthFloor: number
  bandwidthCap?: number
  isHostLeg?: true
}

/** The 4-byte key of an array map. */
export function slotKey(slot: number): Buffer {
  const key = Buffer.alloc(4)
  key.writeUInt32LE(slot)
  return key
}

function idBytes(endpointId: string): Buffer {
  return Buffer.from(endpointId.replaceAll('-', ''), 'hex')
}

/** MAC address as six bytes. */
export function macBytes(macAddress: string): Buffer {
  return Buffer.from(macAddress.replaceAll(':', ''), 'hex')
}

/** The link-local address that a kernel forms from a MAC (modified EUI-64, RFC 4291 appendix A). */
export function linkLocalBytes(macAddress: string): Buffer {
  const mac = macBytes(macAddress)
  const interfaceId = [mac[0]! ^ 2, mac[1]!, mac[2]!, 0xff, 0xfe, mac[3]!, mac[4]!, mac[5]!]
  return Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...interfaceId])
}

/** `struct endpoint` of bpf/soft-vf.h. */
export function encodeEndpoint(entry: EndpointEntry): Buffer {
  const value = Buffer.alloc(endpointSize)
  idBytes(entry.endpointId).copy(value, 0)
  macBytes(entry.macAddress).copy(value, 16)
  value.writeUInt16LE(entry.vlan, 22)
  value.writeUInt32LE((entry.bandwidthCap ? cappedFlag : 0) | (entry.isHostLeg ? hostLegFlag : 0), 24)
  for (const address of entry.addresses) addressBytes(address).copy(value, isIPv6(address) ? 32 : 28)
  linkLocalBytes(entry.macAddress).copy(value, 48)
  value.writeBigUInt64LE(BigInt(Math.floor(entry.bandwidthFloor / 8)), 64)
  value.writeBigUInt64LE(BigInt(Math.floor((entry.bandwidthCap ?? 0) / 8)), 72)
  return value
}

/** The endpoint in a slot, or undefined when the slot is free. */
export function decodeEndpoint(value: Buffer): EndpointEntry | undefined {
  const hex = value.toString('hex', 0, 16)
  if (/^0+$/.test(hex)) return undefined
  const ipv4 = value.subarray(28, 32)
  const ipv6 = value.subarray(32, 48)
  const cap = Number(value.readBigUInt64LE(72)) * 8
  return {
    endpointId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    macAddress: value.toString('hex', 16, 22).replace(/(..)(?!$)/g, '$1:'),
    vlan: value.readUInt16LE(22),
    addresses: [ipv4, ipv6].filter((bytes) => bytes.some((byte) => byte !== 0)).map(addressOfBytes),
    bandwidthFloor: Number(value.readBigUInt64LE(64)) * 8,
    ...(cap > 0 ? { bandwidthCap: cap } : {}),
    ...(value.readUInt32LE(24) & hostLegFlag ? { isHostLeg: true } : {}),
  }
}

/** `struct forwarding_key`. */
export function forwardingKey(macAddress: string, vlan: number): Buffer {
  const key = Buffer.alloc(forwardingKeySize)
  macBytes(macAddress).copy(key)
  key.writeUInt16LE(vlan, 6)
  return key
}

/** `struct counters` of an endpoint that was just attached. */
export function freshCounters(): Buffer {
  const value = Buffer.alloc(countersSize)
  value.writeBigUInt64LE(1n)
  return value
}

/** `struct counters_head`: the slot, and flags. */
const headSize = 8
const receiverFoundFlag = 1
const recordSize = headSize + countersSize

/** Of each slot in a file of counters, whether frames to its endpoint find it. */
export function foundReceivers(file: Buffer): Map<number, boolean> {
  const found = new Map<number, boolean>()
  for (let at = 0; at + recordSize <= file.length; at += recordSize) {
    found.set(file.readUInt32LE(at), (file.readUInt32LE(at + 4) & receiverFoundFlag) !== 0)
  }
  return found
}

/**
 * Reads the pinned counters file again and again. Of an endpoint that did nothing since the last time it gives the same
 * object as then, so that whoever compares two readings sees at once that nothing has changed.
 */
export class CountersReader {
  #before: Buffer = Buffer.alloc(0)
  #known = new Map<number, EndpointCounters>()

  /** The records of a file; `endpointIds` tells which endpoint has a slot. */
  read(file: Buffer, endpointIds: ReadonlyMap<number, string>): EndpointCounters[] {
    const records: EndpointCounters[] = []
    for (let at = 0; at + recordSize <= file.length; at += recordSize) {
      const slot = file.readUInt32LE(at)
      const endpointId = endpointIds.get(slot)
      let record = this.#known.get(slot)
      if (!endpointId) {
        this.#known.delete(slot)
        continue
      }
      if (record?.endpointId !== endpointId || !this.#isAsBefore(file, at)) {
        record = decodeRecord(file, at + headSize, endpointId)
        this.#known.set(slot, record)
      }
      records.push(record)
    }
    if (this.#before.length !== file.length) this.#before = Buffer.alloc(file.length)
    file.copy(this.#before)
    return records
  }

  /** Whether the file of the last time had the same at this place, the slot included. */
  #isAsBefore(file: Buffer, at: number): boolean {
    return (
      at + recordSize <= this.#before.length &&
      file.compare(this.#before, at, at + recordSize, at, at + recordSize) === 0
    )
  }
}

function decodeRecord(file: Buffer, begin: number, endpointId: string): EndpointCounters {
  // without a BigInt for each; a count of more than 2^53 is rounded either way
  const number = (index: number): number =>
    file.readUInt32LE(begin + index * 8) + file.readUInt32LE(begin + index * 8 + 4) * 2 ** 32
  const drops = {} as Record<DropReason, number>
  for (const [index, reason] of dropReasons.entries()) drops[reason] = number(3 + index)
  return {
    endpointId,
    sentBytes: number(1),
    sentPackets: number(2),
    receivedBytes: number(16),
    receivedPackets: number(17),
    drops,
    deliveredBytes: number(32),
    windows: { withDemand: number(33), attained: number(34) },
  }
}
