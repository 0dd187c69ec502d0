/** Who a frame may speak for; addresses as bytes. */
export interface Speaker {
  mac: Buffer
  ipv4: Buffer
  ipv6: Buffer[]
}

/**
 * Why a frame must not leave an endpoint; undefined when it may. Written from the RFCs and without a look at the
 * programs, so that both can be held against each other: whatever they let pass must be fine by this. Reads as much as a
 * receiver could: all headers up to the payload.
 */
export function whyDishonest(frame: Buffer, speaker: Speaker): string | undefined {
  if (frame.length < 14) return 'no Ethernet header'
  if (!frame.subarray(6, 12).equals(speaker.mac)) return 'another source MAC'
  const payload = frame.subarray(14)
  switch (frame.readUInt16BE(12)) {
    case 0x0800:
      return whyDishonestIpv4(payload, speaker)
    case 0x0806:
      return whyDishonestArp(payload, speaker)
    case 0x86dd:
      return whyDishonestIpv6(payload, speaker)
    default:
      return 'a protocol that endpoints do not speak, or a tag'
  }
}

function whyDishonestIpv4(packet: Buffer, { ipv4 }: Speaker): string | undefined {
  if (packet.length < 20) return 'IPv4 header cut off'
  if (packet[0]! >> 4 !== 4) return 'not version 4'
  if ((packet[0]! & 15) < 5) return 'header length below 20'
  return packet.subarray(12, 16).equals(ipv4) ? undefined : 'another IPv4 source'
}

/** RFC 826, RFC 5227. */
function whyDishonestArp(packet: Buffer, { mac, ipv4 }: Speaker): string | undefined {
  if (packet.length < 28) return 'ARP cut off'
  if (packet.toString('hex', 0, 6) !== '000108000604') return 'not ARP for IPv4 over Ethernet'
  if (!packet.subarray(8, 14).equals(mac)) return 'another ARP sender MAC'
  const sender = packet.subarray(14, 18)
  if (sender.equals(ipv4)) return undefined
  const isProbe = sender.every((byte) => byte === 0) && packet.readUInt16BE(6) === 1
  return isProbe ? undefined : 'another ARP sender address'
}

/** Extension headers that a receiver walks through: RFC 8200 section 4. */
const hopByHop = 0
const routing = 43
const fragment = 44
const destinationOptions = 60
const icmpv6 = 58

function whyDishonestIpv6(packet: Buffer, speaker: Speaker): string | undefined {
  if (packet.length < 40) return 'IPv6 header cut off'
  if (packet[0]! >> 4 !== 6) return 'not version 6'
  const source = packet.subarray(8, 24)
  const isUnspecified = source.every((byte) => byte === 0)
  if (!isUnspecified && !speaker.ipv6.some((address) => address.equals(source))) return 'another IPv6 source'
  let [next, offset, isFragment] = [packet[6]!, 40, false]
  while ([hopByHop, routing, fragment, destinationOptions].includes(next)) {
    if (packet.length < offset + 8) return 'an extension header cut off'
    if (next === fragment && packet.readUInt16BE(offset + 2) >> 3 !== 0) {
      return isUnspecified ? 'a fragment from nobody' : undefined
    }
    isFragment ||= next === fragment
    const length = next === fragment ? 8 : (packet[offset + 1]! + 1) * 8
    next = packet[offset]!
    offset += length
  }
  if (next !== icmpv6) return isUnspecified ? 'not ICMPv6, from nobody' : undefined
  const end = Math.min(packet.length, 40 + packet.readUInt16BE(4))
  return whyDishonestIcmp(packet, offset, end, isUnspecified, isFragment, speaker)
}

/** RFC 4861, RFC 6980. */
function whyDishonestIcmp(
  packet: Buffer,
  offset: number,
  end: number,
  isUnspecified: boolean,
  isFragment: boolean,
  speaker: Speaker,
): string | undefined {
  if (packet.length <= offset) return 'ICMPv6 cut off'
  const type = packet[offset]!
  if (type === 134) return 'a router advertisement'
  if (type === 137) return 'a redirect'
  if (type < 133 || type > 137) return undefined
  if (isFragment) return 'neighbour discovery in a fragment'
  const fixed = type === 133 ? 8 : 24
  const target = packet.subarray(offset + 8, offset + 24)
  const speaksForTarget = type === 136 || (type === 135 && isUnspecified)
  if (speaksForTarget && !speaker.ipv6.some((address) => address.equals(target))) return 'another target'
  for (let at = offset + fixed; at + 8 <= end; at += packet[at + 1]! * 8) {
    if (packet[at + 1] === 0) return undefined // a receiver drops it: RFC 4861 section 4.6
    if ((packet[at] === 1 || packet[at] === 2) && !packet.subarray(at + 2, at + 8).equals(speaker.mac)) {
      return 'another link-layer address'
    }
  }
  return undefined
}
