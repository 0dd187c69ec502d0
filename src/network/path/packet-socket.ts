import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import koffi from 'koffi'
import { Internal } from '../../base/index.ts'
import { inNetworkNamespace } from '../netlink/index.ts'

const library = koffi.load(null)
const call = {
  socket: library.func('int socket(int domain, int type, int protocol)'),
  bind: library.func('int bind(int descriptor, void *address, uint32_t length)'),
  setOption: library.func('int setsockopt(int descriptor, int level, int name, void *value, uint32_t length)'),
  send: library.func('long send(int descriptor, void *data, long length, int flags)'),
  receive: library.func('long recv(int descriptor, void *data, long length, int flags)'),
}

const packetFamily = 17 // AF_PACKET
const rawAndCloseOnExec = 3 | 0o2000000
const allProtocols = 0x0003 // ETH_P_ALL
const socketLevel = 1 // SOL_SOCKET
const attachFilter = 26 // SO_ATTACH_FILTER
const doNotWait = 0x40 // MSG_DONTWAIT
/** Frames that are taken at a time, which is less than there may be: a container can send them faster than they are read. */
const mostFrames = 1000
const largestFrame = 65_536

/**
 * Lets ARP, ICMP and ICMPv6 pass, so that a container's own traffic does not fill the socket's buffer: classic BPF as
 * [code, jump if true, jump if false, constant].
 */
const answersOnly: [number, number, number, number][] = [
  [0x28, 0, 0, 12], // load the EtherType
  [0x15, 6, 0, 0x0806],
  [0x15, 0, 2, 0x0800],
  [0x30, 0, 0, 23], // load the protocol of IPv4
  [0x15, 3, 4, 1],
  [0x15, 0, 3, 0x86dd],
  [0x30, 0, 0, 20], // load the next header of IPv6
  [0x15, 0, 1, 58],
  [0x06, 0, 0, largestFrame],
  [0x06, 0, 0, 0],
]

/** Sends and receives whole frames at an interface of a container (packet(7)); what is received is ARP, ICMP or ICMPv6. */
export class PacketSocket {
  readonly #descriptor: number

  /** Throws NotFound when the namespace is gone, Internal when the interface is. */
  constructor(netns: string, interfaceIndex: number) {
    this.#descriptor = inNetworkNamespace(netns, () => call.socket(packetFamily, rawAndCloseOnExec, 0) as number)
    if (this.#descriptor < 0) throw failure('open a packet socket')
    try {
      this.#filter()
      this.#bind(interfaceIndex)
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** False when the interface does not take it, as one that is down. */
  send(frame: Buffer): boolean {
    return Number(call.send(this.#descriptor, frame, frame.length, 0)) === frame.length
  }

  /** The frames that have come since the last call, those that were sent included; of a flood only the first ones. */
  receive(): Buffer[] {
    const frames: Buffer[] = []
    const space = Buffer.alloc(largestFrame)
    while (frames.length < mostFrames) {
      const length = Number(call.receive(this.#descriptor, space, space.length, doNotWait))
      if (length < 0) break // nothing more, or the interface went down: then nobody will answer
      frames.push(Buffer.from(space.subarray(0, length)))
    }
    return frames
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }

  #filter(): void {
    const program = Buffer.alloc(8 * answersOnly.length)
    answersOnly.forEach(([code, whenTrue, whenFalse, constant], index) => {
      program.writeUInt16LE(code, 8 * index)
      program.writeUInt8(whenTrue, 8 * index + 2)
      program.writeUInt8(whenFalse, 8 * index + 3)
      program.writeUInt32LE(constant, 8 * index + 4)
    })
    const option = Buffer.alloc(16) // struct sock_fprog
    option.writeUInt16LE(answersOnly.length)
    option.writeBigUInt64LE(koffi.address(program), 8)
    if (call.setOption(this.#descriptor, socketLevel, attachFilter, option, option.length) !== 0) {
      throw failure('filter a packet socket')
    }
  }

  #bind(interfaceIndex: number): void {
    const address = Buffer.alloc(20) // struct sockaddr_ll
    address.writeUInt16LE(packetFamily, 0)
    address.writeUInt16BE(allProtocols, 2)
    address.writeInt32LE(interfaceIndex, 4)
    if (call.bind(this.#descriptor, address, address.length) !== 0) throw failure('bind a packet socket')
  }
}

function failure(what: string): Internal {
  return new Internal(`cannot ${what}: ${getSystemErrorName(-koffi.errno())}`)
}
