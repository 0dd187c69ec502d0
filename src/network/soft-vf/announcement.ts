import { isIPv6 } from 'node:net'
import { addressBytes } from '../addresses/ip-address.ts'
import { internetChecksum } from '../internet-checksum.ts'
import { linkLocalBytes, macBytes } from './map-layout.ts'

const broadcast = Buffer.alloc(6, 0xff)

function ethernet(destination: Buffer, source: Buffer, type: number): Buffer {
  const header = Buffer.alloc(14)
  destination.copy(header, 0)
  source.copy(header, 6)
  header.writeUInt16BE(type, 12)
  return header
}

/** An ARP announcement (RFC 5227 section 3): request whose sender and target are the address. */
function arpAnnouncement(mac: Buffer, address: Buffer): Buffer {
  const body = Buffer.alloc(46) // the least payload of an Ethernet frame
  body.set([0, 1, 8, 0, 6, 4, 0, 1])
  mac.copy(body, 8)
  address.copy(body, 14)
  address.copy(body, 24)
  return Buffer.concat([ethernet(broadcast, mac, 0x0806), body])
}

/** An unsolicited neighbour advertisement with the override flag to all nodes (RFC 4861 section 7.2.6). */
function neighbourAdvertisement(mac: Buffer, macAddress: string, address: Buffer): Buffer {
  const allNodes = addressBytes('ff02::1')
  const source = linkLocalBytes(macAddress)
  const message = Buffer.alloc(32)
  message[0] = 136
  message[4] = 0x20
  address.copy(message, 8)
  message.set([2, 1], 24)
  mac.copy(message, 26)
  const lengthAndNext = Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58])
  message.writeUInt16BE(internetChecksum(source, allNodes, lengthAndNext, message), 2)
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255])
  const multicastMac = Buffer.from([0x33, 0x33, 0, 0, 0, 1])
  return Buffer.concat([ethernet(multicastMac, mac, 0x86dd), header, source, allNodes, message])
}

/** An ARP probe (RFC 5227 section 2.1.1): a request for the address whose sender address is 0. */
function arpProbe(mac: Buffer, address: Buffer): Buffer {
  const frame = arpAnnouncement(mac, address)
  frame.fill(0, 28, 32)
  return frame
}

/** The solicitation of duplicate address detection (RFC 4862 section 5.4.2): from nobody, to the solicited node. */
function duplicateDetection(mac: Buffer, address: Buffer): Buffer {
  const source = Buffer.alloc(16)
  const destination = addressBytes('ff02::1:ff00:0')
  address.copy(destination, 13, 13)
  const message = Buffer.alloc(24)
  message[0] = 135
  address.copy(message, 8)
  const lengthAndNext = Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58])
  message.writeUInt16BE(internetChecksum(source, destination, lengthAndNext, message), 2)
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255])
  const multicastMac = Buffer.concat([Buffer.from([0x33, 0x33]), destination.subarray(12)])
  return Buffer.concat([ethernet(multicastMac, mac, 0x86dd), header, source, destination, message])
}

/** Frames that ask whether somebody else has one of these addresses. */
export function addressProbes(macAddress: string, addresses: string[]): Buffer[] {
  const mac = macBytes(macAddress)
  return addresses.map((address) => (isIPv6(address) ? duplicateDetection : arpProbe)(mac, addressBytes(address)))
}

/** Frames that tell neighbours and switches where an endpoint is now: one for each of its addresses. */
export function announcements(macAddress: string, addresses: string[]): Buffer[] {
  const mac = macBytes(macAddress)
  return addresses.map((address) =>
    isIPv6(address)
      ? neighbourAdvertisement(mac, macAddress, addressBytes(address))
      : arpAnnouncement(mac, addressBytes(address)),
  )
}
