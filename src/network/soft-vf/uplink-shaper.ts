import {
  decodeClass,
  decodeQueue,
  listClasses,
  listQueues,
  NetlinkSocket,
  place,
  putClass,
  putTree,
  removeClass,
  removeRootQueue,
  type FoundClass,
  type NetlinkRequest,
} from '../netlink/index.ts'
import { maximumSlots } from './map-layout.ts'
import { endpointClass, hostMinor, uplinkClasses, type Rates } from './shaping.ts'

/** The uplink as traffic control names it. */
export interface ShapedDevice {
  name: string
  index: number
  /** Bits per second. */
  linkRate: number
}

/**
 * The tree of classes on the uplink. It is there only while a floor is promised on the node: a node that has promised
 * nothing has nothing to keep, and frames pay 5 % of a round trip for it.
 */
export class UplinkShaper {
  readonly #socket: NetlinkSocket
  readonly #device: ShapedDevice
  readonly #onChange: (isShaped: boolean) => void
  /** Rates by slot, whether there are classes or not: decisions are made on it without waiting, requests run in order. */
  readonly #rates = new Map<number, Rates>()
  #isShaped = false

  /** `onChange` is told when classes keep the rates, and before they no longer do. */
  constructor(socket: NetlinkSocket, device: ShapedDevice, onChange: (isShaped: boolean) => void) {
    this.#socket = socket
    this.#device = device
    this.#onChange = onChange
  }

  /** Whether every endpoint has a class. */
  get isShaped(): boolean {
    return this.#isShaped
  }

  /** Adopts what an earlier agent left: classes that are right are only set again, which touches no frame. */
  async start(endpoints: Iterable<[slot: number, rates: Rates]>): Promise<void> {
    for (const [slot, rates] of endpoints) this.#rates.set(slot, rates)
    const isThere = hasTree(this.#socket, this.#device.index)
    if (!this.#hasFloor()) return isThere ? this.#removeTree() : undefined
    this.#isShaped = true
    await this.#socket.must([...(isThere ? this.#uplinkClasses() : this.#tree()), ...this.#allClasses()])
    this.#onChange(true)
    const orphans = findClasses(this.#socket, this.#device.index).filter(({ minor }) => this.#isOrphan(minor))
    await this.#socket.change(orphans.map(({ minor }) => this.#removal(minor)))
  }

  /** Keeps these rates for the endpoint in a slot from now on. */
  async shape(slot: number, rates: Rates): Promise<void> {
    this.#rates.set(slot, rates)
    if (this.#isShaped) return this.#hasFloor() ? this.#socket.must([this.#classOf(slot, rates)]) : this.#removeTree()
    if (rates.bandwidthFloor === 0) return
    this.#isShaped = true
    try {
      await this.#socket.must([...this.#tree(), ...this.#allClasses()])
    } catch (error) {
      this.#rates.delete(slot)
      await this.#removeTree()
      throw error
    }
    if (this.#isShaped) this.#onChange(true)
  }

  /** Forgets endpoints; with the last floor goes the whole tree. */
  async remove(slots: number[]): Promise<void> {
    for (const slot of slots) this.#rates.delete(slot)
    if (!this.#isShaped) return
    if (!this.#hasFloor()) return this.#removeTree()
    await this.#socket.change(slots.map((slot) => this.#removal(slot)))
  }

  async #removeTree(): Promise<void> {
    this.#isShaped = false
    this.#onChange(false)
    await this.#socket.change([removeRootQueue(this.#device.name, this.#device.index)])
  }

  #hasFloor(): boolean {
    return this.#rates.values().some((rates) => rates.bandwidthFloor > 0)
  }

  #tree(): NetlinkRequest[] {
    return [putTree(this.#device.name, this.#device.index, hostMinor), ...this.#uplinkClasses()]
  }

  #uplinkClasses(): NetlinkRequest[] {
    const { name, index, linkRate } = this.#device
    return uplinkClasses(linkRate).map((wanted) => putClass(name, index, wanted))
  }

  #allClasses(): NetlinkRequest[] {
    return [...this.#rates].map(([slot, rates]) => this.#classOf(slot, rates))
  }

  #classOf(slot: number, rates: Rates): NetlinkRequest {
    const { name, index, linkRate } = this.#device
    return putClass(name, index, endpointClass(slot, rates, linkRate))
  }

  #removal(slot: number): NetlinkRequest {
    return removeClass(this.#device.name, this.#device.index, slot)
  }

  #isOrphan(slot: number): boolean {
    return slot > 0 && slot < maximumSlots && !this.#rates.has(slot)
  }
}

/** The HTB classes of a device. */
export function findClasses(socket: NetlinkSocket, index: number): FoundClass[] {
  return socket
    .dump(listClasses(index))
    .map(decodeClass)
    .filter((found) => found !== undefined)
}

function hasTree(socket: NetlinkSocket, index: number): boolean {
  const queues = socket.dump(listQueues()).map(decodeQueue)
  return queues.some(
    (queue) =>
      queue?.index === index && queue.parent === place.root && queue.kind === 'htb' && queue.handle === 0x1_0000,
  )
}
