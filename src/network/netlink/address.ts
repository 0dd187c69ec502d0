import { isIPv6 } from 'node:net'
import { addressBytes, addressOfBytes } from '../addresses/ip-address.ts'
import { attribute, flags, readAttributes, u32, type NetlinkMessage, type NetlinkRequest } from './message.ts'

/** RTM_... of linux/rtnetlink.h. */
const type = { new: 20, get: 22 } as const
/** IFA_... of linux/if_addr.h. */
const field = { address: 1, local: 2, flags: 8 } as const
const withoutDuplicateDetection = 2 // IFA_F_NODAD

/** An address of a device. */
export interface InterfaceAddress {
  index: number
  address: string
  prefixLength: number
}

/** AF_INET or AF_INET6. */
export function familyOf(address: string): number {
  return isIPv6(address) ? 10 : 2
}

function header(family: number, prefixLength: number, index: number): Buffer {
  const bytes = Buffer.alloc(8) // struct ifaddrmsg
  bytes.set([family, prefixLength])
  bytes.writeUInt32LE(index, 4)
  return bytes
}

/** Gives a device an address, or does nothing when it has it. IPv6 is usable at once: claims keep others from it. */
export function addAddress({ index, address, prefixLength }: InterfaceAddress): NetlinkRequest {
  const bytes = addressBytes(address)
  return {
    type: type.new,
    flags: flags.create | flags.replace,
    body: Buffer.concat([
      header(familyOf(address), prefixLength, index),
      attribute(field.local, bytes),
      attribute(field.address, bytes),
      ...(isIPv6(address) ? [attribute(field.flags, u32(withoutDuplicateDetection))] : []),
    ]),
    purpose: `add address ${address}/${prefixLength}`,
  }
}

/** Asks for the addresses of a device. */
export function listAddresses(index: number): NetlinkRequest {
  return { type: type.get, flags: 0, body: header(0, 0, index), purpose: 'list the addresses' }
}

/** An address that a list or an announcement tells of; undefined for other messages. */
export function decodeAddress({ type: found, body }: NetlinkMessage): InterfaceAddress | undefined {
  if (found !== type.new) return undefined
  const fields = readAttributes(body.subarray(8))
  const bytes = fields.get(field.local) ?? fields.get(field.address)
  if (!bytes) return undefined
  return { index: body.readUInt32LE(4), address: addressOfBytes(bytes), prefixLength: body[1]! }
}
