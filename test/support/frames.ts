import { addressBytes } from '../../src/network/addresses/ip-address.ts'
import { internetChecksum } from '../../src/network/internet-checksum.ts'
import { macBytes } from '../../src/network/soft-vf/map-layout.ts'

const bytes = (...values: (number | Buffer)[]): Buffer =>
  Buffer.concat(values.map((value) => (typeof value === 'number' ? Buffer.from([value]) : value)))
const short = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])

/** An Ethernet frame, padded to 60 bytes. */
export function ethernet(destination: string, source: string, type: number, payload: Buffer): Buffer {
  const frame = bytes(macBytes(destination), macBytes(source), short(type), payload)
  return frame.length < 60 ? Buffer.concat([frame, Buffer.alloc(60 - frame.length)]) : frame
}

/** An IPv4 header (checksum left 0: the programs do not look) with a payload. */
export function ipv4(source: string, destination: string, protocol = 17, payload = Buffer.alloc(8)): Buffer {
  const head = bytes(0x45, 0, short(20 + payload.length), Buffer.alloc(4), 64, protocol, short(0))
  return bytes(head, addressBytes(source), addressBytes(destination), payload)
}

/** An ARP packet for IPv4 over Ethernet. */
export function arp(operation: number, senderMac: string, senderIp: string, targetIp: string): Buffer {
  const head = bytes(short(1), short(0x0800), 6, 4, short(operation))
  return bytes(head, macBytes(senderMac), addressBytes(senderIp), Buffer.alloc(6), addressBytes(targetIp))
}

/** An IPv6 header with a payload. */
export function ipv6(source: string, destination: string, next: number, payload: Buffer): Buffer {
  return bytes(
    0x60,
    0,
    0,
    0,
    short(payload.length),
    next,
    255,
    addressBytes(source),
    addressBytes(destination),
    payload,
  )
}

/** An ICMPv6 neighbour message (135 solicitation, 136 advertisement) with one link-layer address option. */
export function neighbour(type: number, target: string, option: number, mac: string): Buffer {
  return bytes(type, 0, short(0), Buffer.alloc(4), addressBytes(target), option, 1, macBytes(mac))
}

/** Puts a hop-by-hop options header of eight bytes in front of an ICMPv6 message. */
export function behindHopByHop(message: Buffer): Buffer {
  return bytes(58, 0, 1, 4, 0, 0, 0, 0, message)
}

/** A router advertisement (RFC 4861 section 4.2) to all nodes: a default route, and a /64 to form an address in. */
export function routerAdvertisement(source: string, prefix: string): Buffer {
  const router = bytes(134, 0, short(0), 64, 0, short(1800), Buffer.alloc(8))
  const usable = 0xc0 // on the link, and for addresses
  const information = bytes(3, 4, 64, usable, Buffer.alloc(8, 0x01), Buffer.alloc(4), addressBytes(prefix))
  const message = bytes(router, information)
  const pseudoHeader = bytes(
    addressBytes(source),
    addressBytes('ff02::1'),
    Buffer.alloc(3),
    message.length,
    0,
    0,
    0,
    58,
  )
  message.writeUInt16BE(internetChecksum(pseudoHeader, message), 2)
  return ipv6(source, 'ff02::1', 58, message)
}
