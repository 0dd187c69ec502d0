import { isIPv6 } from 'node:net'
import { addressBytes, addressOfBytes } from '../addresses/ip-address.ts'
import { internetChecksum } from '../internet-checksum.ts'

/** What a frame answers to a probe: whose MAC an address has, or an echo request. */
export type ProbeAnswer =
  { kind: 'neighbour'; address: string; macAddress: string } | { kind: 'echo'; identifier: number }

const broadcast = 'ff:ff:ff:ff:ff:ff'
const ethertype = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const
const ethernetHeader = 14
const arpReply = 2
const icmp = { protocol: 1, reply: 0, request: 8 } as const
const icmp6 = { protocol: 58, request: 128, reply: 129, solicitation: 135, advertisement: 136 } as const
const leastFrame = 60

/** Asks who has an address: ARP (RFC 826) or a neighbour solicitation (RFC 4861 section 4.3). */
export function neighbourRequest(sender: { macAddress: string; address: string }, target: string): Buffer {
  return isIPv6(target) ? solicitation(sender, target) : arpRequest(sender, target)
}

/** An echo request to an address behind a MAC (RFC 792, RFC 4443 section 4.1). `identifier`: 16 bits, to know the answer by. */
export function echoRequest(
  sender: { macAddress: string; address: string },
  receiver: { macAddress: string; address: string },
  identifier: number,
): Buffer {
  const isSix = isIPv6(receiver.address)
  const message = Buffer.alloc(16)
  message[0] = isSix ? icmp6.request : icmp.request
  message.writeUInt16BE(identifier, 4)
  message.writeUInt16BE(1, 6)
  const [source, destination] = [addressBytes(sender.address), addressBytes(receiver.address)]
  const pseudo = isSix ? pseudoHeader(source, destination, message.length) : Buffer.alloc(0)
  message.writeUInt16BE(internetChecksum(pseudo, message), 2)
  const packet = isSix ? ipv6(source, destination, message) : ipv4(source, destination, message)
  return ethernet(receiver.macAddress, sender.macAddress, isSix ? ethertype.ipv6 : ethertype.ipv4, packet)
}

/** What a received frame answers; undefined for all other frames, whatever is in them. */
export function parseAnswer(frame: Buffer): ProbeAnswer | undefined {
  if (frame.length < ethernetHeader + 20) return undefined
  const payload = frame.subarray(ethernetHeader)
  switch (frame.readUInt16BE(12)) {
    case ethertype.arp:
      return parseArp(payload)
    case ethertype.ipv4:
      return parseIpv4(payload)
    case ethertype.ipv6:
      return parseIpv6(payload)
    default:
      return undefined
  }
}

function parseArp(packet: Buffer): ProbeAnswer | undefined {
  if (packet.length < 28 || packet.readUInt16BE(6) !== arpReply || packet[4] !== 6 || packet[5] !== 4) return undefined
  return {
    kind: 'neighbour',
    macAddress: macText(packet.subarray(8, 14)),
    address: addressOfBytes(packet.subarray(14, 18)),
  }
}

function parseIpv4(packet: Buffer): ProbeAnswer | undefined {
  const header = (packet[0]! & 15) * 4
  if (packet[9] !== icmp.protocol || header < 20 || packet.length < header + 8) return undefined
  return packet[header] === icmp.reply ? { kind: 'echo', identifier: packet.readUInt16BE(header + 4) } : undefined
}

function parseIpv6(packet: Buffer): ProbeAnswer | undefined {
  if (packet.length < 48 || packet[6] !== icmp6.protocol) return undefined
  const message = packet.subarray(40)
  if (message[0] === icmp6.reply) return { kind: 'echo', identifier: message.readUInt16BE(4) }
  if (message[0] !== icmp6.advertisement || message.length < 32 || message[24] !== 2) return undefined
  return {
    kind: 'neighbour',
    address: addressOfBytes(message.subarray(8, 24)),
    macAddress: macText(message.subarray(26, 32)),
  }
}

function arpRequest(sender: { macAddress: string; address: string }, target: string): Buffer {
  const body = Buffer.alloc(28)
  body.set([0, 1, 8, 0, 6, 4, 0, 1])
  mac(sender.macAddress).copy(body, 8)
  addressBytes(sender.address).copy(body, 14)
  addressBytes(target).copy(body, 24)
  return ethernet(broadcast, sender.macAddress, ethertype.arp, body)
}

function solicitation(sender: { macAddress: string; address: string }, target: string): Buffer {
  const wanted = addressBytes(target)
  const group = addressBytes('ff02::1:ff00:0')
  wanted.copy(group, 13, 13)
  const message = Buffer.alloc(32)
  message[0] = icmp6.solicitation
  wanted.copy(message, 8)
  message.set([1, 1], 24)
  mac(sender.macAddress).copy(message, 26)
  const source = addressBytes(sender.address)
  message.writeUInt16BE(internetChecksum(pseudoHeader(source, group, message.length), message), 2)
  const groupMac = `33:33:${macText(group.subarray(12))}`
  return ethernet(groupMac, sender.macAddress, ethertype.ipv6, ipv6(source, group, message))
}

function ethernet(destination: string, source: string, type: number, payload: Buffer): Buffer {
  const frame = Buffer.alloc(Math.max(leastFrame, ethernetHeader + payload.length))
  mac(destination).copy(frame, 0)
  mac(source).copy(frame, 6)
  frame.writeUInt16BE(type, 12)
  payload.copy(frame, ethernetHeader)
  return frame
}

function ipv4(source: Buffer, destination: Buffer, payload: Buffer): Buffer {
  const header = Buffer.alloc(20)
  header.set([0x45, 0, 0, 20 + payload.length, 0, 0, 0, 0, 64, icmp.protocol])
  source.copy(header, 12)
  destination.copy(header, 16)
  header.writeUInt16BE(internetChecksum(header), 10)
  return Buffer.concat([header, payload])
}

function ipv6(source: Buffer, destination: Buffer, payload: Buffer): Buffer {
  const header = Buffer.from([0x60, 0, 0, 0, 0, payload.length, icmp6.protocol, 255])
  return Buffer.concat([header, source, destination, payload])
}

function pseudoHeader(source: Buffer, destination: Buffer, length: number): Buffer {
  return Buffer.concat([source, destination, Buffer.from([0, 0, 0, length, 0, 0, 0, icmp6.protocol])])
}

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex')
}

function macText(bytes: Buffer): string {
  return bytes.toString('hex').replace(/(..)(?!$)/g, '$1:')
}
