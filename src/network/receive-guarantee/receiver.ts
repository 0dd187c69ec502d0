import { untilNext, type Logger } from '../../base/index.ts'
import {
  enforcedShares,
  type EnforcedShares,
  ReceiveGovernor,
  ReceiveWindows,
  wireShare,
  type PlaneArrivals,
  type PlaneReserve,
  type ReceiveLimit,
  type Windows,
} from '../../guarantee/index.ts'
import type { Arrival, ReceiveControl, ReceiverAddress } from '../receive-control.ts'
import { ArrivalMeter, type ArrivalFlow, type ArrivalRates } from './arrival-meter.ts'
import type { AddressedLimit, LimitPusher } from './limit-pusher.ts'
import { ReceiveProblems, type ReceiveProblem } from './receive-problems.ts'
import type { SenderDirectory } from './sender-directory.ts'

/** Milliseconds between looks at what arrives: under pressure, else while a floor is promised, else. */
const intervals = { pressure: 25, floor: 100, nothing: 1000 } as const
/** Share of the link below which nobody is short of anything, so that frames need not be counted by source ... */
const quietShare = 0.4
/** ... and how long in milliseconds it must last. */
const quietTime = 5_000
/** Share of the link from which on the switch loses frames that nobody counts. */
const fullShare = 0.98
/** Milliseconds for which the list of endpoints is used. */
const endpointsFreshness = 500

/** An endpoint of this node. Rates in bits per second. */
export interface ReceivingEndpoint extends ReceiverAddress {
  endpointId: string
  bandwidthFloor: number
  bandwidthCap?: number
}

/** What the receiving side works with. */
export interface ReceiverOptions {
  nodeName: string
  /** Bits per second of the node's link now; 0 when nobody knows: then nothing is done. */
  linkRate: () => number
  /** What is kept of the link for other planes of the node. */
  reserves: () => PlaneReserve[]
  control: ReceiveControl
  endpoints: () => ReceivingEndpoint[]
  directory: Pick<SenderDirectory, 'placeOf'>
  pusher: LimitPusher
  /** Is told problems that are new. */
  onProblem?: (problem: ReceiveProblem) => void
  logger: Logger
}

const nothingArrived: ArrivalRates = { seconds: 0, flows: [], other: 0, ofNode: new Map(), outside: 0 }

/** Watches what arrives on a node that has promised floors, and has the sending nodes told how much they may send. */
export class Receiver {
  readonly #options: ReceiverOptions
  readonly #governor = new ReceiveGovernor()
  readonly #meter = new ArrivalMeter()
  #received: { at: number; bytes: number } | undefined
  #busyAt = -Infinity
  readonly #windows = new ReceiveWindows()
  readonly #problems = new ReceiveProblems()
  #endpoints = new Map<string, ReceivingEndpoint>()
  #ownMacs = new Set<string>()
  #reserves: PlaneReserve[] = []
  #endpointsAt = -Infinity
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(options: ReceiverOptions) {
    this.#options = options
  }

  start(): void {
    this.#isStopped = false
    this.#tick()
  }

  /** Leaves the limits to their leases: another agent is about to take over. */
  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #tick(): void {
    let interval: number = intervals.nothing
    try {
      interval = this.look(performance.now())
    } catch (error) {
      this.#options.logger.error({ err: error }, 'what arrives could not be looked at')
    }
    if (this.#isStopped) return
    // with nothing to watch it looks when others of the agent do, and wakes nobody up
    const wait = interval < intervals.nothing ? interval : untilNext(interval)
    this.#timer = setTimeout(() => this.#tick(), wait)
  }

  /** Looks at what arrived and acts on it; `now` in milliseconds. Returns in how many to look again. */
  look(now: number): number {
    const { control, pusher } = this.#options
    this.#refreshEndpoints(now)
    const hasFloor = this.#endpoints.values().some(({ bandwidthFloor }) => bandwidthFloor > 0)
    this.#governor.linkRate = this.#options.linkRate()
    const isWanted = (hasFloor || this.#reserves.length > 0) && this.#governor.linkRate > 0
    const isCounting = isWanted && this.#isBusy(now)
    control.countArrivals(isCounting)
    if (!isCounting) {
      this.#meter.reset()
      pusher.set(now, [])
      this.#judge(now, nothingArrived)
      return isWanted ? intervals.floor : intervals.nothing
    }
    const rates = this.#meter.measure(now, control.arrivals(), (source) => this.#nodeOf(source))
    control.forgetArrivals(this.#meter.takeSilent(now))
    if (rates) {
      const senders = rates.flows.map(({ node }) => node).filter((node) => node !== undefined)
      pusher.set(now, this.#decide(now, rates), senders)
      this.#judge(now, rates)
    }
    return this.#governor.isUnderPressure || !rates ? intervals.pressure : intervals.floor
  }

  /** Whether enough arrives, or did lately, for anybody to be in the way of another. */
  #isBusy(now: number): boolean {
    const bytes = this.#options.control.receivedBytes()
    const before = this.#received
    this.#received = { at: now, bytes }
    if (!before) this.#busyAt = now // an agent that has just started does not know
    if (!before || now <= before.at) return now - this.#busyAt < quietTime
    const rate = ((bytes - before.bytes) * 8000) / (now - before.at)
    // what other planes receive is not counted here
    if (rate >= (this.#governor.linkRate - this.#kept) * quietShare) this.#busyAt = now
    return now - this.#busyAt < quietTime
  }

  /** Bits per second that are kept for other planes. */
  get #kept(): number {
    return this.#reserves.reduce((sum, { rate }) => sum + rate, 0)
  }

  /** What keeps this node from keeping its floors. */
  get problems(): ReceiveProblem[] {
    return this.#problems.all
  }

  /** Windows of receiving of an endpoint with a floor, since this agent started. */
  windowsOf(endpointId: string): Windows {
    return this.#windows.of(endpointId)
  }

  #judge(now: number, { flows, other, outside }: ArrivalRates): void {
    const golds = [...this.#endpoints.values()].filter(({ bandwidthFloor }) => bandwidthFloor > 0)
    const isFull = flows.reduce((sum, { rate }) => sum + rate, other) >= this.#governor.linkRate * fullShare
    const looks = golds.map(({ endpointId: id, bandwidthFloor: floor }) => {
      const mine = flows.filter(({ receiver }) => receiver === id)
      const delivered = mine.reduce((sum, { frameRate }) => sum + frameRate, 0)
      return { id, floor, delivered, wasHeldBack: isFull || this.#governor.isHeldBack(id, now) }
    })
    this.#windows.look(now, looks)
    const { budget, isUnderPressure } = this.#governor
    const promised = golds.reduce((sum, { bandwidthFloor }) => sum + bandwidthFloor, this.#kept)
    const state = { budget, outside, promised, isUnderPressure, untold: this.#options.pusher.untold }
    for (const problem of this.#problems.look(now, state)) this.#options.onProblem?.(problem)
  }

  #refreshEndpoints(now: number): void {
    if (now - this.#endpointsAt < endpointsFreshness) return
    const endpoints = this.#options.endpoints()
    this.#endpoints = new Map(endpoints.map((endpoint) => [endpoint.endpointId, endpoint]))
    this.#ownMacs = new Set(endpoints.map(({ macAddress, vlan }) => `${macAddress} ${vlan}`))
    this.#reserves = this.#options.reserves()
    this.#endpointsAt = now
  }

  #decide(now: number, rates: ArrivalRates): AddressedLimit[] {
    const { pusher } = this.#options
    const flows = rates.flows.filter(({ receiver }) => this.#endpoints.has(receiver))
    for (const flow of flows) flow.wasHeldBack = pusher.takeHeldBack(flow.receiver, flow.node)
    const shares = this.#shares()
    const receivers = [...this.#endpoints.values()].map(({ endpointId, bandwidthFloor, bandwidthCap }) => ({
      id: endpointId,
      floor: bandwidthFloor * shares.floors,
      ...(bandwidthCap === undefined ? {} : { cap: bandwidthCap }),
    }))
    const planes = this.#planes(rates, shares.reserves)
    const { limits } = this.#governor.step(now, receivers, flows, rates.other, planes)
    return limits.map((limit) => this.#address(limit, flows))
  }

  /** A link that gives less than was promised on it is shared out as for sending. */
  #shares(): EnforcedShares {
    const promised = this.#endpoints.values().reduce((sum, { bandwidthFloor }) => sum + bandwidthFloor, 0)
    return enforcedShares(promised, this.#governor.linkRate, this.#reserves)
  }

  /** Planes by their VLAN: untagged ones cannot be told apart, and have their floors together. */
  #planes({ ofNode }: ArrivalRates, share: number): PlaneArrivals[] {
    const byVlan = Map.groupBy(this.#reserves, ({ vlan }) => vlan ?? 0)
    return [...byVlan].map(([vlan, reserves]) => ({
      id: `plane-${vlan}`,
      floor: reserves.reduce((sum, { rate }) => sum + rate, 0) * share,
      rate: ofNode.get(vlan) ?? 0,
    }))
  }

  #nodeOf({ sourceMac, vlan }: Pick<Arrival, 'sourceMac' | 'vlan'>): string | undefined {
    const { directory, nodeName } = this.#options
    if (this.#ownMacs.has(`${sourceMac} ${vlan}`)) return nodeName
    const place = directory.placeOf(sourceMac, vlan)
    return typeof place === 'object' ? place.node : undefined
  }

  /** As the sending node needs it: the receiver by its address, the rate in bits of frames. Small packets have more gaps. */
  #address(limit: ReceiveLimit, flows: ArrivalFlow[]): AddressedLimit {
    const { macAddress, vlan } = this.#endpoints.get(limit.receiver)!
    const flow = flows.find(({ receiver, node }) => receiver === limit.receiver && node === limit.node)
    const frameShare = flow ? flow.frameRate / flow.rate : 1 / wireShare
    return { ...limit, rate: limit.rate * frameShare, macAddress, vlan }
  }
}
