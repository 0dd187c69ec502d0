import { isIPv4, isIPv6 } from 'node:net'
import type { ForeignUse } from '../engine.ts'
import { addressOfBytes } from '../addresses/ip-address.ts'
import { linkLocalBytes } from './map-layout.ts'

/** Mirrors bpf/duplicate-address.h. */
export const duplicateKeySize = 12
export const duplicateSize = 32

const [mac, ipv4, ipv6] = [1, 4, 6]

/** The endpoint that an entry may be about. */
interface Owner {
  endpointId: string
  macAddress: string
  addresses: string[]
}

/**
 * Reads an entry of the map `duplicates`; `ownerOf` tells who has a slot now and `now` is CLOCK_MONOTONIC in
 * nanoseconds. Undefined when the entry is about an earlier endpoint of the slot.
 */
export function decodeDuplicate(
  key: Buffer,
  value: Buffer,
  ownerOf: (slot: number) => Owner | undefined,
  now: bigint,
): ForeignUse | undefined {
  const owner = ownerOf(key.readUInt32LE(0))
  if (!owner || owner.endpointId.replaceAll('-', '') !== value.toString('hex', 0, 16)) return undefined
  const address = addressOf(owner, key.readUInt16LE(10))
  if (address === undefined) return undefined
  return {
    endpointId: owner.endpointId,
    address,
    macAddress: key.toString('hex', 4, 10).replace(/(..)(?!$)/g, '$1:'),
    sinceHeard: Number(now - value.readBigUInt64LE(16)) / 1e6,
  }
}

function addressOf({ macAddress, addresses }: Owner, which: number): string | undefined {
  switch (which) {
    case mac:
      return macAddress
    case ipv4:
      return addresses.find((text) => isIPv4(text))
    case ipv6:
      return addresses.find((text) => isIPv6(text))
    default:
      return addressOfBytes(linkLocalBytes(macAddress))
  }
}
