import type { UplinkLimits } from '../engine.ts'
import {
  decodeClass,
  decodeClassFilter,
  isFilterAsWanted,
  listClassFilters,
  decodeQueue,
  listClasses,
  listQueues,
  NetlinkSocket,
  place,
  putClass,
  putClassFilter,
  putTree,
  removeClass,
  removeClassFilter,
  removeRootQueue,
  treeHandle,
  type FoundClass,
  type NetlinkRequest,
  type TrafficClass,
} from '../netlink/index.ts'
import { enforcedRates, planLink, type LinkPlan } from './link-plan.ts'
import { maximumSlots } from './map-layout.ts'
import { endpointClass, hostMinor, planeFilters, unusedPlanePlaces, uplinkClasses, type Rates } from './shaping.ts'

/** The uplink as traffic control names it. */
export interface ShapedDevice {
  name: string
  index: number
}

/**
 * The tree of classes on the uplink. It is there only while a floor is promised on the node or something is kept for
 * another plane: a node that has promised nothing has nothing to keep, and frames pay 5 % of a round trip for it.
 *
 * A link may give less than was promised on it. Then every floor is kept in proportion, and all classes change together
 * when the link or the sum of floors does.
 */
export class UplinkShaper {
  readonly #socket: NetlinkSocket
  readonly #device: ShapedDevice
  readonly #onChange: (isShaped: boolean) => void
  /** Rates by slot, whether there are classes or not: decisions are made on it without waiting, requests run in order. */
  readonly #rates = new Map<number, Rates>()
  #limits: UplinkLimits
  #isShaped = false

  /** `onChange` is told when classes keep the rates, and before they no longer do. */
  constructor(
    socket: NetlinkSocket,
    device: ShapedDevice,
    limits: UplinkLimits,
    onChange: (isShaped: boolean) => void,
  ) {
    this.#socket = socket
    this.#device = device
    this.#limits = limits
    this.#onChange = onChange
  }

  /** Whether every endpoint has a class. */
  get isShaped(): boolean {
    return this.#isShaped
  }

  /** Adopts what an earlier agent left: classes that are right are only set again, which touches no frame. */
  async start(endpoints: Iterable<[slot: number, rates: Rates]>): Promise<void> {
    for (const [slot, rates] of endpoints) this.#rates.set(slot, rates)
    const { index } = this.#device
    const shaped = devicesWithTree(this.#socket)
    await this.#socket.change(shaped.filter((other) => other !== index).map((other) => removeRootQueue('', other)))
    const isThere = shaped.includes(index)
    if (!this.#isNeeded()) return isThere ? this.#removeTree() : undefined
    this.#isShaped = true
    const plan = this.#plan()
    await this.#socket.must([...(isThere ? this.#uplinkClasses(plan) : this.#tree(plan)), ...this.#allClasses(plan)])
    this.#onChange(true)
    const orphans = findClasses(this.#socket, index).filter(({ minor }) => this.#isOrphan(minor))
    await this.#socket.change(orphans.map(({ minor }) => this.#removal(minor)))
    if (isThere) await this.#socket.change(this.#unusedPlanes(plan))
  }

  /** Keeps these rates for the endpoint in a slot from now on. `ahead` goes to the kernel first, in the same go. */
  async shape(slot: number, rates: Rates, ahead: NetlinkRequest[] = []): Promise<void> {
    const before = this.#plan().floors
    this.#rates.set(slot, rates)
    if (this.#isShaped && this.#isNeeded()) return this.#reshape(slot, rates, before, ahead)
    if (rates.bandwidthFloor === 0) {
      if (ahead.length > 0) await this.#socket.must(ahead)
      return this.#isShaped ? this.#removeTree() : undefined
    }
    try {
      await this.#makeTree(ahead)
    } catch (error) {
      this.#rates.delete(slot)
      await this.#settle()
      throw error
    }
  }

  /** After a tree that could not be made for one: others may have come meanwhile that have their classes in it. */
  async #settle(): Promise<void> {
    if (!this.#isNeeded()) return this.#removeTree()
    await this.repair()
    this.#onChange(true)
  }

  /** Forgets endpoints; with the last floor goes the whole tree, unless something is kept for another plane. */
  async remove(slots: number[]): Promise<void> {
    const before = this.#plan().floors
    for (const slot of slots) this.#rates.delete(slot)
    if (!this.#isShaped) return
    if (!this.#isNeeded()) return this.#removeTree()
    await this.#socket.change(slots.map((slot) => this.#removal(slot)))
    const plan = this.#plan()
    if (plan.floors !== before) await this.#socket.must(this.#allClasses(plan))
  }

  /** Divides the link by these limits from now on. Without a rate (no carrier) the one that it had before stays. */
  async changeLink(limits: UplinkLimits): Promise<void> {
    this.#limits = { ...limits, linkRate: limits.linkRate || this.#limits.linkRate }
    if (!this.#isNeeded()) return this.#isShaped ? this.#removeTree() : undefined
    if (!this.#isShaped) return this.#makeTree()
    const plan = this.#plan()
    await this.#socket.must([...this.#uplinkClasses(plan), ...this.#allClasses(plan)])
    await this.#socket.change(this.#unusedPlanes(plan))
  }

  /** What of the tree is missing or different; empty while it is being made or changed by this engine, too. */
  findDamage(): string[] {
    const { name, index } = this.#device
    if (!this.#isShaped) return this.#isNeeded() ? [`${name} has no classes`] : []
    if (!devicesWithTree(this.#socket).includes(index)) return [`${name} has no classes`]
    const plan = this.#plan()
    const found = new Map(findClasses(this.#socket, index).map((each) => [each.minor, each]))
    const wanted = [
      ...uplinkClasses(plan),
      ...[...this.#rates].map(([slot, rates]) => this.#wantedClass(slot, rates, plan)),
    ]
    const damaged = wanted.filter((each) => !isClassAsWanted(found.get(each.minor), each))
    const filters = new Map(
      this.#socket
        .dump(listClassFilters(index))
        .flatMap((message) => decodeClassFilter(message) ?? [])
        .map((filter) => [filter.priority, filter]),
    )
    const unfiltered = planeFilters(plan).filter((filter) => !isFilterAsWanted(filters.get(filter.priority), filter))
    return [
      ...damaged.map(({ minor }) => `class 1:${minor.toString(16)} of ${name} is not as it was made`),
      ...unfiltered.map(({ minor }) => `the filter for class 1:${minor.toString(16)} of ${name} is not as it was made`),
    ]
  }

  /** Makes the tree again where it is missing, and sets all classes; what waits in them stays. */
  async repair(): Promise<void> {
    if (!this.#isShaped) return this.#isNeeded() ? this.#makeTree() : undefined
    const isThere = devicesWithTree(this.#socket).includes(this.#device.index)
    const plan = this.#plan()
    await this.#socket.must([...(isThere ? this.#uplinkClasses(plan) : this.#tree(plan)), ...this.#allClasses(plan)])
  }

  /** Where the share of all floors changes, all classes do; otherwise only the one. */
  async #reshape(slot: number, rates: Rates, before: number, ahead: NetlinkRequest[]): Promise<void> {
    const plan = this.#plan()
    const classes = plan.floors === before ? [this.#classOf(slot, rates, plan)] : this.#allClasses(plan)
    await this.#socket.must([...ahead, ...classes])
  }

  async #makeTree(ahead: NetlinkRequest[] = []): Promise<void> {
    this.#isShaped = true
    const plan = this.#plan()
    await this.#socket.must([...ahead, ...this.#tree(plan), ...this.#allClasses(plan)])
    if (this.#isShaped) this.#onChange(true)
  }

  async #removeTree(): Promise<void> {
    this.#isShaped = false
    this.#onChange(false)
    await this.#socket.change([removeRootQueue(this.#device.name, this.#device.index)])
  }

  #isNeeded(): boolean {
    return this.#limits.reserves.length > 0 || this.#rates.values().some((rates) => rates.bandwidthFloor > 0)
  }

  #plan(): LinkPlan {
    return planLink(this.#limits, this.#rates.values())
  }

  #tree(plan: LinkPlan): NetlinkRequest[] {
    return [putTree(this.#device.name, this.#device.index, hostMinor), ...this.#uplinkClasses(plan)]
  }

  #uplinkClasses(plan: LinkPlan): NetlinkRequest[] {
    const { name, index } = this.#device
    return [
      ...uplinkClasses(plan).map((wanted) => putClass(name, index, wanted)),
      ...planeFilters(plan).map((filter) => putClassFilter(name, index, filter)),
    ]
  }

  /** Requests that fail where there is nothing to remove. */
  #unusedPlanes(plan: LinkPlan): NetlinkRequest[] {
    const { name, index } = this.#device
    return unusedPlanePlaces(plan).flatMap(({ priority, minor }) => [
      removeClassFilter(name, index, priority),
      this.#removal(minor),
    ])
  }

  #allClasses(plan: LinkPlan): NetlinkRequest[] {
    return [...this.#rates].map(([slot, rates]) => this.#classOf(slot, rates, plan))
  }

  #classOf(slot: number, rates: Rates, plan: LinkPlan): NetlinkRequest {
    const { name, index } = this.#device
    return putClass(name, index, this.#wantedClass(slot, rates, plan))
  }

  #wantedClass(slot: number, rates: Rates, plan: LinkPlan): TrafficClass {
    return endpointClass(slot, enforcedRates(rates, plan), plan.linkRate)
  }

  #removal(slot: number): NetlinkRequest {
    return removeClass(this.#device.name, this.#device.index, slot)
  }

  #isOrphan(slot: number): boolean {
    return slot > 0 && slot < maximumSlots && !this.#rates.has(slot)
  }
}

/** The kernel keeps rates in whole bytes. */
function isClassAsWanted(found: FoundClass | undefined, { rate, ceil, priority }: TrafficClass): boolean {
  const isSame = (one: number, other: number): boolean => Math.abs(one - other) < 8
  return found !== undefined && isSame(found.rate, rate) && isSame(found.ceil, ceil) && found.priority === priority
}

/** The HTB classes of a device. */
export function findClasses(socket: NetlinkSocket, index: number): FoundClass[] {
  return socket
    .dump(listClasses(index))
    .map(decodeClass)
    .filter((found) => found !== undefined)
}

/** Devices with a tree of classes of this engine: more than one when the node had another uplink before. */
function devicesWithTree(socket: NetlinkSocket): number[] {
  const queues = socket.dump(listQueues()).map(decodeQueue)
  return queues.flatMap((queue) => {
    const isTree = queue?.kind === 'htb' && queue.parent === place.root && queue.handle === treeHandle
    return isTree && queue.defaultMinor === hostMinor ? [queue.index] : []
  })
}
