import { allocateReceive, type ReceiveLimit, type ReceiverDemand, type SenderDemand } from './receive-allocation.ts'

/** How the link of a receiving node is watched and shared. Times in milliseconds. */
export const receiving = {
  /**
   * Share of the link that is let in while it is under pressure, in wire bytes: a little less than it carries, so that
   * the switch port's queue stays short and the first frames of a receiver that was idle get through.
   */
  linkShare: 0.97,
  /** Share of what may be let in from which on the link is under pressure ... */
  pressureShare: 0.85,
  /** ... and below which for `calm` milliseconds it no longer is, if nobody is held back. */
  calmShare: 0.75,
  calm: 400,
  /** A flow below this share of the link is not limited, and no limit is below it. */
  leastShare: 0.002,
  /** What a flow that is not held back may grow by until it is looked at again: share of its rate, and of the link. */
  growth: 0.1,
  growthOfLink: 0.01,
  /** How long a flow that was held back is taken to want more. */
  hunger: 300,
  /** How long a receiver that begins, or grows fast, has its whole floor set aside ... */
  boost: 500,
  /** ... and what it has when it does not use it: a part of the floor, until it has received nothing for `rest`. */
  leastReserve: 0.1,
  /** ... or more than the floor, as this share of it, while it got less in the last half second and is held back. */
  catchUp: 1.15,
  rest: 1000,
} as const

/** What arrived from one node for one receiver since the last step. */
export interface MeasuredFlow {
  receiver: string
  /** Undefined: from outside the cluster, or nobody knows from where. */
  node: string | undefined
  /** Wire bits per second. */
  rate: number
  /** Whether the sending node dropped frames because of the limit. */
  wasHeldBack: boolean
}

/** A receiver on this node. Rates in bits per second of frames, as tiers have them. */
export interface Receiver {
  id: string
  floor: number
  cap?: number
}

/** What the node itself receives over the link by another plane: it has a floor, and nobody can be told to hold back. */
export interface PlaneArrivals {
  id: string
  /** Bits per second of frames, as the node declares it. */
  floor: number
  /** Wire bits per second; part of `other`. */
  rate: number
}

/** What is to be done now. */
export interface ReceiveDecision {
  /** Whether limits are in force. */
  isUnderPressure: boolean
  limits: ReceiveLimit[]
}

interface FlowState {
  limit: number | undefined
  hungryUntil: number
  seen: number
}

interface ReserveState {
  /** Highest rates of the last steps, newest last. */
  recent: { at: number; rate: number }[]
  boostUntil: number
  lastSeen: number
}

/** Wire bits of a floor given in bits of frames: those of full frames. */
export const wireShare = 1 + 28 / 1510

/**
 * Decides from what arrives which node may send how much to which receiver. It remembers what it decided, and does
 * nothing else: whoever measures, tells it; whoever enforces, is told. Time is passed in.
 */
export class ReceiveGovernor {
  /** Bits per second of the link. */
  linkRate: number
  readonly #flows = new Map<string, FlowState>()
  readonly #reserves = new Map<string, ReserveState>()
  #isUnderPressure = false
  #calmSince = 0

  constructor(linkRate = 0) {
    this.linkRate = linkRate
  }

  /** Whether limits are in force. */
  get isUnderPressure(): boolean {
    return this.#isUnderPressure
  }

  /** Wire bits per second that may arrive while there is pressure. */
  get budget(): number {
    return this.linkRate * receiving.linkShare
  }

  /**
   * Takes what arrived since the last step. `now` in milliseconds; `other`: wire bits per second for no receiver, that for
   * `planes` included. What planes have set aside and do not use yet is kept out of what receivers share.
   */
  step(
    now: number,
    receivers: Receiver[],
    measured: MeasuredFlow[],
    other = 0,
    planes: PlaneArrivals[] = [],
  ): ReceiveDecision {
    const flows = [...measured, ...this.#silent(now, measured)]
    const total = flows.reduce((sum, { rate }) => sum + rate, other)
    for (const flow of flows) this.#observe(flow, now)
    const reserves = new Map(receivers.map((receiver) => [receiver.id, this.#reserveOf(receiver, flows, now)]))
    const setAside = this.#reserveOfPlanes(planes, now)
    const taken = other + setAside
    this.#judgePressure(now, total + setAside)
    this.#forget(now, [...receivers, ...planes])
    if (!this.#isUnderPressure) {
      for (const state of this.#flows.values()) state.limit = undefined
      return { isUnderPressure: false, limits: [] }
    }
    this.#boundCatchUp(receivers, reserves, taken)
    const demands = receivers.map((receiver) => this.#demandOf(receiver, reserves.get(receiver.id)!, flows, now))
    const least = this.linkRate * receiving.leastShare
    const limits = allocateReceive({ budget: this.budget - taken, least }, demands).filter((limit) =>
      this.#matters(limit, flows, now),
    )
    for (const state of this.#flows.values()) state.limit = undefined
    for (const limit of limits) this.#flows.get(keyOf(limit.receiver, limit.node))!.limit = limit.rate
    return { isUnderPressure: true, limits }
  }

  /** Flows that are remembered and pause: their limits stay, or they would come back unlimited. */
  #silent(now: number, measured: MeasuredFlow[]): MeasuredFlow[] {
    const heard = new Set(measured.map(({ receiver, node }) => keyOf(receiver, node ?? '')))
    return [...this.#flows].flatMap(([key, { seen }]) => {
      if (heard.has(key) || now - seen >= receiving.rest) return []
      const [receiver, node] = key.split(' ') as [string, string]
      return [{ receiver, node, rate: 0, wasHeldBack: false }]
    })
  }

  #observe(flow: MeasuredFlow, now: number): void {
    if (flow.node === undefined) return
    const key = keyOf(flow.receiver, flow.node)
    // one that is new may want anything
    const state = this.#flows.get(key) ?? { limit: undefined, hungryUntil: now + receiving.hunger, seen: now }
    this.#flows.set(key, state)
    if (flow.rate > 0) state.seen = now
    const isAtLimit = state.limit !== undefined && flow.rate >= state.limit * 0.9
    if (isAtLimit || flow.wasHeldBack || (state.limit === undefined && this.#isBig(flow.rate))) {
      state.hungryUntil = now + receiving.hunger
    }
  }

  #isBig(rate: number): boolean {
    return rate >= this.linkRate * 0.1
  }

  #reserveOf({ id, floor }: Receiver, flows: MeasuredFlow[], now: number): number {
    if (floor === 0) return 0
    const rate = flows.filter(({ receiver }) => receiver === id).reduce((sum, flow) => sum + flow.rate, 0)
    return this.#reserveFor(id, floor * wireShare, rate, now)
  }

  /** What planes may still grow by, beyond what they receive. */
  #reserveOfPlanes(planes: PlaneArrivals[], now: number): number {
    return planes.reduce((sum, { id, floor, rate }) => {
      const reserve = this.#reserveFor(id, floor * wireShare, rate, now)
      // one that is silent begins as fast as it can, and nobody knows when: a part stays set aside
      return sum + Math.max(0, Math.max(reserve, floor * receiving.leastReserve) - rate)
    }, 0)
  }

  #reserveFor(id: string, wireFloor: number, rate: number, now: number): number {
    const state = this.#reserves.get(id) ?? { recent: [], boostUntil: 0, lastSeen: -Infinity }
    this.#reserves.set(id, state)
    state.recent = state.recent.filter(({ at }) => now - at < receiving.boost)
    const peak = Math.max(0, ...state.recent.map((each) => each.rate))
    if (rate > 0) state.lastSeen = now
    if (rate > wireFloor * 0.03 && rate > peak * 1.3) state.boostUntil = now + receiving.boost
    state.recent.push({ at: now, rate })
    if (now - state.lastSeen > receiving.rest) return 0
    if (this.isHeldBack(id, now) && isBehind(state, wireFloor)) return wireFloor * receiving.catchUp
    if (now < state.boostUntil || this.isHeldBack(id, now)) return wireFloor
    return Math.min(wireFloor, Math.max(wireFloor * receiving.leastReserve, 1.3 * Math.max(peak, rate)))
  }

  /** Whether a limit stands between a receiver and more. `now` in milliseconds. */
  isHeldBack(receiver: string, now: number): boolean {
    return [...this.#flows].some(
      ([key, state]) => key.startsWith(`${receiver} `) && state.limit !== undefined && now < state.hungryUntil,
    )
  }

  /** What is set aside beyond floors, to catch up, must not take from the floors of others, nor from what is `taken`. */
  #boundCatchUp(receivers: Receiver[], reserves: Map<string, number>, taken: number): void {
    const floors = new Map(receivers.map(({ id, floor }) => [id, Math.min(reserves.get(id)!, floor * wireShare)]))
    const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, each) => total + each, 0)
    const beyond = sum(reserves.values()) - sum(floors.values())
    if (beyond <= 0) return
    const part = Math.min(1, Math.max(0, this.budget - taken - sum(floors.values())) / beyond)
    for (const [id, floor] of floors) reserves.set(id, floor + (reserves.get(id)! - floor) * part)
  }

  #judgePressure(now: number, total: number): void {
    if (total >= this.budget * receiving.pressureShare) {
      this.#isUnderPressure = true
      this.#calmSince = now
    } else if (total >= this.budget * receiving.calmShare) this.#calmSince = now
    if (now - this.#calmSince >= receiving.calm) this.#isUnderPressure = false
  }

  #demandOf(receiver: Receiver, reserve: number, flows: MeasuredFlow[], now: number): ReceiverDemand {
    const cap = receiver.cap === undefined ? {} : { cap: receiver.cap * wireShare }
    const mine = flows.filter((flow) => flow.receiver === receiver.id)
    const senders = mine.map(({ node, rate }): SenderDemand => {
      if (node === undefined) return { node, rate, wants: rate }
      const isHungry = now < this.#flows.get(keyOf(receiver.id, node))!.hungryUntil
      const growth = rate * receiving.growth + this.linkRate * receiving.growthOfLink
      const isGrowing = reserve > 0 && reserve > rate
      return { node, rate, wants: isHungry ? Infinity : isGrowing ? Math.max(rate + growth, reserve) : rate + growth }
    })
    return { id: receiver.id, reserve, ...cap, senders }
  }

  #matters(limit: ReceiveLimit, flows: MeasuredFlow[], now: number): boolean {
    const flow = flows.find(({ receiver, node }) => receiver === limit.receiver && node === limit.node)!
    const state = this.#flows.get(keyOf(limit.receiver, limit.node))!
    return (
      flow.rate >= this.linkRate * receiving.leastShare ||
      (state.limit !== undefined && now - state.seen < receiving.rest)
    )
  }

  #forget(now: number, receivers: { id: string }[]): void {
    const ids = new Set(receivers.map(({ id }) => id))
    for (const [key, state] of this.#flows) {
      if (now - state.seen > 5 * receiving.rest || !ids.has(key.split(' ')[0]!)) this.#flows.delete(key)
    }
    for (const id of this.#reserves.keys()) if (!ids.has(id)) this.#reserves.delete(id)
  }
}

/** Whether less than the floor came in the remembered time on average. */
function isBehind({ recent }: ReserveState, wireFloor: number): boolean {
  return recent.reduce((sum, each) => sum + each.rate, 0) < recent.length * wireFloor
}

function keyOf(receiver: string, node: string): string {
  return `${receiver} ${node}`
}
