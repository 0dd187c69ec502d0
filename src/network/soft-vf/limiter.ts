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
  decodeLink,
  listLinks,
  type Link,
  type TrafficClass,
} from '../netlink/index.ts'
import { programNumber } from './bpf-system-call.ts'
import { ingressPrograms } from './ingress-hook.ts'
import { interfaceIndexBase, maximumSlots } from './map-layout.ts'
import { findClasses } from './uplink-shaper.ts'

/** Names and indexes of the limiter's ends (bpf/soft-vf.h, LIMITER_INDEX): those after the endpoints'. */
const near = { name: 'cblimit0', index: interfaceIndexBase + maximumSlots } as const
const far = { name: 'cblimit1', index: near.index + 1 } as const
/** Frames that a class may hold: the programs bound the bytes. */
const mostFrames = '10000'
/** Classes of limits are 1:1 to this. */
export const mostMinors = 0xfff0
/** Seconds of its rate that a class may send at once after a pause, so that a processor that comes late loses nothing. */
const burstSeconds = 0.005

function classFor(minor: number, rate: number): TrafficClass {
  const burst = Math.max(16_384, Math.ceil((rate / 8) * burstSeconds))
  return { minor, rate, ceil: rate, burst, ceilBurst: burst, priority: 0, quantum: 60_000 }
}

/**
 * The veth pair in which frames for limited receivers wait, with a class for each limit. It is made for the first limit
 * and stays: it costs nothing while nobody is limited.
 */
export class Limiter {
  readonly #socket = NetlinkSocket.open()
  readonly #program: number
  #made: Promise<void> | undefined
  /** Rates of the classes that were set, in bits per second. */
  readonly #rates = new Map<number, number>()

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
    this.#rates.set(minor, rate)
    await (this.#made ??= this.#make())
    if (this.#rates.get(minor) === rate)
      await this.#socket.must([putClass(near.name, near.index, classFor(minor, rate))])
  }

  /** Removes a class; what waits in it is lost. */
  async remove(minor: number): Promise<void> {
    this.#rates.delete(minor)
    if (this.#made) await this.#socket.change([removeClass(near.name, near.index, minor)])
  }

  /** What of it is missing or different; nothing while it was never made. */
  findDamage(): string[] {
    if (!this.#made) return []
    const links = this.#links()
    const wrong = [near, far].filter(({ name, index }) => links.get(index)?.name !== name || !links.get(index)!.isUp)
    if (wrong.length > 0) return wrong.map(({ name }) => `${name} is not there, or down`)
    const isHooked = ingressPrograms(this.#socket, far.index).includes(programNumber(this.#program))
    if (!isHooked) return [`the program that takes frames on is not on ${far.name}`]
    if (!this.#hasTree()) return [`${near.name} has no classes`]
    const found = new Map(findClasses(this.#socket, near.index).map(({ minor, rate }) => [minor, rate]))
    const isAsSet = ([minor, rate]: [number, number]): boolean => Math.abs((found.get(minor) ?? -Infinity) - rate) < 16
    const classes = [...this.#rates].filter((set) => !isAsSet(set))
    return classes.map(([minor]) => `class 1:${minor.toString(16)} of ${near.name} is not as it was made`)
  }

  /** Makes right what is damaged, with the classes of all limits. */
  async repair(): Promise<void> {
    if (!this.#made) return
    const links = this.#links()
    const ends = [near, far].map(({ index }) => links.get(index))
    if (ends.some((end, at) => end?.name !== [near, far][at]!.name)) {
      for (const end of ends) if (end) await exec(['ip', 'link', 'del', 'dev', end.name]).catch(() => {}) // one takes the other along
      this.#made = this.#make()
      await this.#made
    } else await this.#complete()
    const classes = [...this.#rates].map(([minor, rate]) => putClass(near.name, near.index, classFor(minor, rate)))
    await this.#socket.must(classes)
  }

  #links(): Map<number, Link> {
    const links = this.#socket.dump(listLinks('veth')).flatMap((message) => decodeLink(message) ?? [])
    return new Map(links.map((link) => [link.index, link]))
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
