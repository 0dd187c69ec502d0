import koffi from 'koffi'
import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { Internal } from '../../base/index.ts'
import {
  decodeAnswers,
  encodeRequests,
  flags,
  type NetlinkAnswer,
  type NetlinkMessage,
  type NetlinkRefusal,
  type NetlinkRequest,
} from './message.ts'
import { inNetworkNamespace } from './namespace.ts'

const library = koffi.load(null)
const call = {
  socket: library.func('int socket(int domain, int type, int protocol)'),
  bind: library.func('int bind(int descriptor, void *address, uint32_t length)'),
  setOption: library.func('int setsockopt(int descriptor, int level, int name, void *value, uint32_t length)'),
  send: library.func('long send(int descriptor, void *data, long length, int flags)'),
  receive: library.func('long recv(int descriptor, void *data, long length, int flags)'),
  receiveWithOrigin: library.func('long recvmsg(int descriptor, void *message, int flags)'),
}

const netlinkFamily = 16 // AF_NETLINK
const rawAndCloseOnExec = 3 | 0o2000000
const netlinkLevel = 270 // SOL_NETLINK
/** Options of linux/netlink.h that are switched on: errors in words, without the request, and filters on dumps. */
const options = { cappedAnswers: 10, errorsInWords: 11, strictDumps: 12 } as const
const addMembership = 1 // NETLINK_ADD_MEMBERSHIP
const everyNamespace = 8 // NETLINK_LISTEN_ALL_NSID
const socketLevel = 1 // SOL_SOCKET
const receiveBufferForced = 33 // SO_RCVBUFFORCE
const doNotWait = 0x40 // MSG_DONTWAIT
/** Requests in one datagram: few enough that the answers fit into the socket's buffer. */
const requestsAtOnce = 64
const errnoAgain = 11
const errnoExists = 17
const errnoNoBuffers = 105
/** The kernel never makes a part of a dump larger. */
const largestDatagram = 65_536

/** A request that the kernel refused; `errno` is positive, such as 17 for EEXIST. */
export class NetlinkError extends Internal {
  readonly errno: number

  constructor(purpose: string, { errno, said }: NetlinkRefusal) {
    super(`cannot ${purpose}: ${getSystemErrorName(-errno)}${said ? ` (${said})` : ''}`)
    this.errno = errno
  }

  /** Whether something of the same name, address or handle is there already. */
  get isAlreadyThere(): boolean {
    return this.errno === errnoExists
  }

  /** Whether what was to be made is there already, or what was to be removed has gone. */
  get isDoneAlready(): boolean {
    return this.isAlreadyThere || notThere.includes(this.errno)
  }
}

/** One request of several that the kernel refused. */
export interface RefusedRequest {
  request: NetlinkRequest
  error: NetlinkError
}

/** What one call asked for. */
interface Change {
  requests: NetlinkRequest[]
  /** In the order of the requests. */
  refused: RefusedRequest[]
  resolve: (refused: RefusedRequest[]) => void
  reject: (error: unknown) => void
}

/** A change that the kernel announced. */
export interface Announcement extends NetlinkMessage {
  /** This namespace's number for the one it happened in; undefined: in this one. */
  namespace: number | undefined
}

/** What a socket that listens to the kernel's announcements got since it was last asked. */
export interface Announcements {
  messages: Announcement[]
  /** Whether some were lost, because nobody asked for too long. */
  overrun: boolean
}

/**
 * A socket that speaks rtnetlink (rtnetlink(7)) with the network namespace it was opened in, for as long as it is open.
 * Requests of one `change`, and of others that wait meanwhile, go in one datagram (64 of them at most) and are carried out
 * in order. They run on a thread of libuv's pool, because the kernel may hold them up for as long as another interface is
 * being removed; queries take microseconds and run at once. An open socket keeps its namespace alive: those of containers
 * are closed right after use.
 */
export class NetlinkSocket {
  readonly #descriptor: number
  #number = 1
  /** Changes that are not under way yet. */
  readonly #waiting: Change[] = []
  #working: Promise<void> | undefined
  #isOpen = true
  /** Answers to a change that is under way, received by a query. */
  readonly #early: NetlinkAnswer[] = []

  private constructor() {
    this.#descriptor = call.socket(netlinkFamily, rawAndCloseOnExec, 0) as number
    if (this.#descriptor < 0) throw failure('open a netlink socket')
    for (const option of Object.values(options)) this.#setOption(netlinkLevel, option, 1)
  }

  /** Opens a socket in this process's own network namespace. */
  static open(): NetlinkSocket {
    return new NetlinkSocket()
  }

  /**
   * Opens a socket in another network namespace. This thread is in there only between two system calls, so nothing else
   * of the process ever sees it. Throws NotFound when nothing is at the path, Internal when it is no network namespace.
   */
  static openIn(netns: string): NetlinkSocket {
    return inNetworkNamespace(netns, () => new NetlinkSocket())
  }

  /** Carries requests out in order; one that is refused does not stop the others. */
  change(requests: NetlinkRequest[]): Promise<RefusedRequest[]> {
    const { promise, resolve, reject } = Promise.withResolvers<RefusedRequest[]>()
    this.#waiting.push({ requests, refused: [], resolve, reject })
    this.#working ??= this.#work()
    return promise
  }

  /** Carries out requests that must all succeed. Throws NetlinkError for the first that was refused. */
  async must(requests: NetlinkRequest[]): Promise<void> {
    const [refused] = await this.change(requests)
    if (refused) throw refused.error
  }

  /** All that the kernel lists. Throws NetlinkError. */
  dump(request: NetlinkRequest): NetlinkMessage[] {
    return this.#query(request, flags.dump)
  }

  /** The one message that answers; undefined when there is no such thing. Throws NetlinkError for other refusals. */
  get(request: NetlinkRequest): NetlinkMessage | undefined {
    try {
      return this.#query(request, flags.acknowledge)[0]
    } catch (error) {
      if (error instanceof NetlinkError && notThere.includes(error.errno)) return undefined
      throw error
    }
  }

  /**
   * Listens from now on to what the kernel announces to groups (RTNLGRP_... of linux/rtnetlink.h), in this namespace and
   * in every other one that it has a number for, such as those of veths whose near end is here.
   */
  listen(groups: number[], bufferSize = 1 << 20): void {
    const address = Buffer.alloc(12) // struct sockaddr_nl: the kernel chooses the number, without which it tells nothing
    address.writeUInt16LE(netlinkFamily)
    if (call.bind(this.#descriptor, address, address.length) !== 0) throw failure('bind a netlink socket')
    this.#setOption(socketLevel, receiveBufferForced, bufferSize)
    this.#setOption(netlinkLevel, everyNamespace, 1)
    for (const group of groups) this.#setOption(netlinkLevel, addMembership, group)
  }

  /** What was announced since the last call; returns at once. */
  announcements(): Announcements {
    const messages: Announcement[] = []
    let overrun = false
    for (;;) {
      const length = Number(call.receiveWithOrigin(this.#descriptor, announcement.message(), doNotWait))
      if (length < 0 && koffi.errno() === errnoAgain) return { messages, overrun }
      if (length < 0 && koffi.errno() === errnoNoBuffers) overrun = true
      else if (length < 0) throw failure('receive announcements by netlink')
      else {
        const namespace = announcement.namespace()
        for (const answer of decodeAnswers(Buffer.from(datagram.subarray(0, length)))) {
          if (answer.kind === 'message') messages.push({ ...answer.message, namespace })
        }
      }
    }
  }

  /** Closes the socket once all that was asked for is done. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    void Promise.resolve(this.#working).then(() => closeSync(this.#descriptor))
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** What waits while a datagram is under way goes together in the next one: each costs a turn of a thread. */
  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const changes = this.#takeWaiting()
      try {
        await this.#carryOut(changes)
        for (const { resolve, refused } of changes) resolve(refused)
      } catch (error) {
        for (const { reject } of changes) reject(error)
      }
    }
    this.#working = undefined
  }

  /** As many changes as fit into a datagram; one that does not goes alone. */
  #takeWaiting(): Change[] {
    let [count, requests] = [0, 0]
    for (const change of this.#waiting) {
      requests += change.requests.length
      if (count > 0 && requests > requestsAtOnce) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #carryOut(changes: Change[]): Promise<void> {
    const parts = changes.flatMap((change) => change.requests.map((request) => ({ request, change })))
    for (let at = 0; at < parts.length; at += requestsAtOnce) {
      const some = parts.slice(at, at + requestsAtOnce)
      const refusals = await this.#send(some.map(({ request }) => request))
      for (const [index, error] of refusals) {
        const { request, change } = some[index]!
        change.refused.push({ request, error })
      }
    }
  }

  /** Sends requests in one datagram; returns those that were refused, by their index. */
  async #send(requests: NetlinkRequest[]): Promise<Map<number, NetlinkError>> {
    const first = this.#take(requests.length)
    await this.#sendOnThread(encodeRequests(requests, first, flags.acknowledge))
    const refused = new Map<number, NetlinkError>()
    let left = requests.length
    const take = (answer: NetlinkAnswer): void => {
      const index = answer.number - first
      const request = requests[index]
      if (answer.kind !== 'acknowledged' || !request) return
      left--
      if (answer.refusal) refused.set(index, new NetlinkError(request.purpose, answer.refusal))
    }
    for (const answer of this.#early.splice(0)) take(answer)
    while (left > 0) {
      const answers = this.#receive()
      if (typeof answers === 'string')
        throw new Internal(`the kernel did not answer all of ${requests.length} requests`)
      for (const answer of answers) take(answer)
    }
    return refused
  }

  /** The kernel has carried everything out, and answered, when this resolves. */
  #sendOnThread(data: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      call.send.async(this.#descriptor, data, data.length, 0, (error: Error | null, sent: number | bigint) => {
        if (error ?? Number(sent) !== data.length) reject(new Internal('sending to the kernel by netlink failed'))
        else resolve()
      })
    })
  }

  #query(request: NetlinkRequest, extraFlags: number): NetlinkMessage[] {
    const number = this.#take(1)
    const data = encodeRequests([request], number, extraFlags)
    if (Number(call.send(this.#descriptor, data, data.length, 0)) < 0) throw failure(request.purpose)
    const messages: NetlinkMessage[] = []
    for (;;) {
      const answers = this.#receive()
      if (typeof answers === 'string') throw new Internal(`cannot ${request.purpose}: the kernel did not answer`)
      for (const answer of answers) {
        if (answer.number !== number) this.#early.push(answer)
        else if (answer.kind === 'message') messages.push(answer.message)
        else if (answer.refusal) throw new NetlinkError(request.purpose, answer.refusal)
        else return messages
      }
    }
  }

  #receive(): NetlinkAnswer[] | 'nothing' | 'overrun' {
    const length = Number(call.receive(this.#descriptor, datagram, datagram.length, doNotWait))
    // a copy, because the next datagram comes into the same place
    if (length >= 0) return decodeAnswers(Buffer.from(datagram.subarray(0, length)))
    const errno = koffi.errno()
    if (errno === errnoAgain) return 'nothing'
    if (errno === errnoNoBuffers) return 'overrun'
    throw failure('receive from the kernel by netlink')
  }

  #take(count: number): number {
    const first = this.#number
    this.#number = (first + count) % 0x7fff_0000 || 1
    return first
  }

  #setOption(level: number, name: number, value: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    if (call.setOption(this.#descriptor, level, name, bytes, bytes.length) !== 0)
      throw failure('set up a netlink socket')
  }
}

const datagram = Buffer.alloc(largestDatagram)

/** `struct msghdr` for a datagram with the number of the namespace it is from; see recvmsg(2) and cmsg(3). */
class AnnouncementBuffers {
  readonly #control = Buffer.alloc(64)
  readonly #place = Buffer.alloc(16) // struct iovec
  readonly #message = Buffer.alloc(56)

  constructor() {
    this.#place.writeBigUInt64LE(koffi.address(datagram), 0)
    this.#place.writeBigUInt64LE(BigInt(datagram.length), 8)
  }

  /** The header, fresh for the next call. */
  message(): Buffer {
    this.#message.fill(0)
    this.#control.fill(0)
    this.#message.writeBigUInt64LE(koffi.address(this.#place), 16)
    this.#message.writeBigUInt64LE(1n, 24)
    this.#message.writeBigUInt64LE(koffi.address(this.#control), 32)
    this.#message.writeBigUInt64LE(BigInt(this.#control.length), 40)
    return this.#message
  }

  /** What the kernel wrote beside the last datagram; undefined when it is from this namespace. */
  namespace(): number | undefined {
    const length = Number(this.#message.readBigUInt64LE(40))
    if (length < 20 || this.#control.readInt32LE(8) !== netlinkLevel) return undefined
    return this.#control.readInt32LE(12) === everyNamespace ? this.#control.readInt32LE(16) : undefined
  }
}

const announcement = new AnnouncementBuffers()
const notThere = [2, 19] // ENOENT, ENODEV

function failure(what: string): Internal {
  return new Internal(`cannot ${what}: ${getSystemErrorName(-koffi.errno())}`)
}
