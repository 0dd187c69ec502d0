import koffi from 'koffi'
import { closeSync, openSync } from 'node:fs'

const library = koffi.load(null)
const setns = library.func('int setns(int descriptor, int type)')
const socket = library.func('int socket(int domain, int type, int protocol)')
const sendto = library.func('long sendto(int fd, void *data, long length, int flags, void *address, uint32_t size)')
const close = library.func('int close(int descriptor)')

const newNetworkNamespace = 0x40000000
const packetFamily = 17
const rawType = 3

/** Sends whole Ethernet frames out of an interface of a network namespace, as a privileged container could. */
export class RawSocket implements Disposable {
  readonly #descriptor: number
  readonly #address = Buffer.alloc(20) // struct sockaddr_ll

  constructor(netns: string, interfaceIndex: number) {
    const [own, other] = [openSync('/proc/thread-self/ns/net', 'r'), openSync(netns, 'r')]
    try {
      must(setns(other, newNetworkNamespace), 'setns')
      this.#descriptor = must(socket(packetFamily, rawType, 0), 'socket')
    } finally {
      must(setns(own, newNetworkNamespace), 'setns')
      closeSync(own)
      closeSync(other)
    }
    this.#address.writeUInt16LE(packetFamily, 0)
    this.#address.writeInt32LE(interfaceIndex, 4)
  }

  /** Sends a frame of at least 14 bytes. */
  send(frame: Buffer): void {
    must(Number(sendto(this.#descriptor, frame, frame.length, 0, this.#address, this.#address.length)), 'sendto')
  }

  [Symbol.dispose](): void {
    close(this.#descriptor)
  }
}

function must(result: number, what: string): number {
  if (result < 0) throw new Error(`${what} failed with errno ${koffi.errno()}`)
  return result
}
