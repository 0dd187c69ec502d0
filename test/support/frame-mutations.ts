import { arp, ethernet, ipv4, ipv6, neighbour } from './frames.ts'
import type { Random } from './random.ts'

/** Text forms of an endpoint's addresses. */
export interface Identity {
  mac: string
  ipv4: string
  ipv6: string
  linkLocal: string
}

const broadcast = 'ff:ff:ff:ff:ff:ff'
const allNodes = '33:33:00:00:00:01'
const icmpv6 = 58
const extensionHeaders = [0, 43, 44, 60, 51, 135, 59]
const longestFrame = 1_600

/** Makes frames that are close to what an endpoint may send, and wrong in all sorts of ways. */
export class FrameMutations {
  readonly #random: Random
  readonly #seeds: Buffer[]

  constructor(random: Random, own: Identity, other: Identity) {
    this.#random = random
    const payload = Buffer.alloc(40, 7)
    this.#seeds = [own, other].flatMap((source) => [
      ethernet(other.mac, own.mac, 0x0800, ipv4(source.ipv4, other.ipv4, 6, payload)),
      ethernet(broadcast, own.mac, 0x0806, arp(1, own.mac, source.ipv4, other.ipv4)),
      ethernet(other.mac, own.mac, 0x0806, arp(2, source.mac, own.ipv4, other.ipv4)),
      ethernet(broadcast, own.mac, 0x0806, arp(1, own.mac, '0.0.0.0', source.ipv4)),
      ethernet(other.mac, own.mac, 0x86dd, ipv6(source.ipv6, other.ipv6, 17, payload)),
      ethernet(allNodes, own.mac, 0x86dd, ipv6(own.linkLocal, 'ff02::1', icmpv6, neighbour(136, source.ipv6, 2, own.mac))),
      ethernet(allNodes, own.mac, 0x86dd, ipv6(own.ipv6, 'ff02::1', icmpv6, neighbour(136, own.ipv6, 2, source.mac))),
      ethernet(allNodes, own.mac, 0x86dd, ipv6(source.ipv6, other.ipv6, icmpv6, neighbour(135, other.ipv6, 1, own.mac))),
      ethernet(allNodes, own.mac, 0x86dd, ipv6('::', 'ff02::1', icmpv6, neighbour(135, source.ipv6, 14, own.mac))),
      ethernet(allNodes, own.mac, 0x86dd, ipv6(own.linkLocal, 'ff02::2', icmpv6, Buffer.concat([Buffer.from([133, 0, 0, 0, 0, 0, 0, 0, 1, 1]), macOf(source.mac)]))),
      ethernet(allNodes, own.mac, 0x86dd, ipv6(own.linkLocal, 'ff02::1', icmpv6, Buffer.concat([Buffer.from([134]), Buffer.alloc(15)]))),
    ]) // prettier-ignore
  }

  /** The next frame, from 14 bytes up. */
  next(): Buffer {
    const random = this.#random
    if (random.chance(0.02)) return this.#bytes(14 + random.below(longestFrame - 14))
    let frame: Buffer = Buffer.from(random.pick(this.#seeds))
    for (let changes = random.below(3); changes > 0; changes--) frame = this.#restructured(frame)
    for (let changes = random.below(4); changes > 0; changes--) {
      // most in the headers, where they count
      const at = random.below(Math.min(frame.length, random.chance(0.8) ? 80 : longestFrame))
      frame[at] = random.chance(0.3) ? random.pick([0, 1, 2, 6, 17, 43, 44, 58, 60, 133, 134, 136, 137, 255]) : random.below(256)
    } // prettier-ignore
    return frame.subarray(0, longestFrame)
  }

  #restructured(frame: Buffer): Buffer {
    switch (this.#random.below(5)) {
      case 0:
        return this.#cut(frame)
      case 1:
        return this.#tagged(frame)
      case 2:
      case 3:
        return frame.readUInt16BE(12) === 0x86dd ? this.#extended(frame) : this.#tagged(frame)
      default:
        return Buffer.concat([frame, this.#bytes(this.#random.below(200))])
    }
  }

  #cut(frame: Buffer): Buffer {
    return frame.subarray(0, 14 + this.#random.below(Math.max(1, frame.length - 14)))
  }

  /** One to three VLAN tags, of all sorts. */
  #tagged(frame: Buffer): Buffer {
    const tags = Array.from({ length: 1 + this.#random.below(3) }, () => {
      const tag = this.#bytes(4)
      tag.writeUInt16BE(this.#random.pick([0x8100, 0x88a8, 0x9100, 0x8847]), 0)
      return tag
    })
    return Buffer.concat([frame.subarray(0, 12), ...tags, frame.subarray(12)])
  }

  /** One to eight IPv6 extension headers between header and payload; their lengths are mostly right. */
  #extended(frame: Buffer): Buffer {
    if (frame.length < 54) return frame
    const random = this.#random
    const kinds = Array.from({ length: 1 + random.below(8) }, () => random.pick(extensionHeaders.slice(0, random.chance(0.8) ? 4 : 7))) // prettier-ignore
    const last = frame[20]!
    const headers = kinds.map((kind, index) => {
      const units = kind === 44 ? 0 : random.pick([0, 0, 0, 1, 3])
      const header = Buffer.alloc((units + 1) * 8)
      header[0] = kinds[index + 1] ?? last
      header[1] = random.chance(0.95) ? units : random.below(256)
      if (kind === 44 && random.chance(0.5)) header.writeUInt16BE(random.pick([1, 8, 0xfff8, random.below(65_536)]), 2)
      return header
    })
    const extended = Buffer.concat([frame.subarray(0, 54), ...headers, frame.subarray(54)])
    extended[20] = kinds[0]!
    if (random.chance(0.9)) extended.writeUInt16BE(extended.length - 54, 18)
    return extended
  }

  #bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length)
    for (let at = 0; at < length; at++) bytes[at] = this.#random.below(256)
    return bytes
  }
}

function macOf(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex')
}
