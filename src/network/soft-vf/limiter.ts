import { existsSync } from 'node:fs'
import { exec } from '../../base/index.ts'
import {
  addHooks,
  decodeQueue,
  listQueues,
  NetlinkSocket,
  putClass,
  putIngressFilter,
  putTree,
  removeClass,
} from '../netlink/index.ts'
import { interfaceIndexBase, maximumSlots } from './map-layout.ts'

/** Names and indexes of the limiter's ends (bpf/soft-vf.h, LIMITER_INDEX): those after the endpoints'. */
const near = { name: 'cblimit0', index: interfaceIndexBase + maximumSlots } as const
const far = { name: 'cblimit1', index: near.index + 1 } as const
/** Frames that a class may hold: the programs bound the bytes. */
const mostFrames = '10000'
/** Classes of limits are 1:1 to this. */
export const mostMinors = 0xfff0
/** Seconds of its rate that a class may send at once after a pause, so that a processor that comes late loses nothing. */
const burstSeconds = 0.005

/**
 * The veth pair in which frames for limited receivers wait, with a class for each limit. It is made for the first limit
 * and stays: it costs nothing while nobody is limited.
 */
export class Limiter {
  readonly #socket = NetlinkSocket.open()
  readonly #program: number
  #made: Promise<void> | undefined

  /** `program`: descriptor of from_limiter. */
  constructor(program: number) {
    this.#program = program
  }

  /** Takes over what an earlier agent made, and completes it if that one died in the middle. */
  async start(): Promise<void> {
    if (!existsSync(`/sys/class/net/${near.name}`)) return
    this.#made = this.#complete()
    await this.#made
  }

  /** Lets a class send so many bits per second from now on. */
  async setRate(minor: number, rate: number): Promise<void> {
    await (this.#made ??= this.#make())
    const burst = Math.max(16_384, Math.ceil((rate / 8) * burstSeconds))
    const limit = { minor, rate, ceil: rate, burst, ceilBurst: burst, priority: 0, quantum: 60_000 }
    await this.#socket.must([putClass(near.name, near.index, limit)])
  }

  /** Removes a class; what waits in it is lost. */
  async remove(minor: number): Promise<void> {
    if (this.#made) await this.#socket.change([removeClass(near.name, near.index, minor)])
  }

  close(): void {
    this.#socket.close()
  }

  async #make(): Promise<void> {
    try {
      const ends = ['name', far.name, 'index', String(far.index), 'mtu', '65535']
      const form = ['index', String(near.index), 'mtu', '65535', 'txqueuelen', mostFrames]
      await exec(['ip', 'link', 'add', 'name', near.name, ...form, 'type', 'veth', 'peer', ...ends])
      await this.#complete()
    } catch (error) {
      this.#made = undefined
      await exec(['ip', 'link', 'del', 'dev', near.name]).catch(() => {}) // there may be none
      throw error
    }
  }

  async #complete(): Promise<void> {
    for (const { name } of [near, far]) await exec(['ip', 'link', 'set', 'dev', name, 'addrgenmode', 'none', 'up'])
    await this.#socket.change([addHooks(far.name, far.index)]) // refused when they are there, which is as well
    const tree = this.#hasTree() ? [] : [putTree(near.name, near.index, 0)]
    await this.#socket.must([putIngressFilter(far.name, far.index, this.#program), ...tree])
  }

  #hasTree(): boolean {
    const queues = this.#socket.dump(listQueues()).map(decodeQueue)
    return queues.some((queue) => queue?.index === near.index && queue.kind === 'htb')
  }
}
