import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { CarbonadoError, Conflict, Internal, KeyedLock, type Logger } from '../../base/index.ts'
import type {
  AttachedEndpoint,
  AttachRequest,
  ContainerPlace,
  Drift,
  EndpointCounters,
  EngineProblem,
  ForeignUse,
  NetworkEngine,
  UplinkLimits,
} from '../engine.ts'
import {
  addVeth,
  changeLink,
  decodeLink,
  listLinks,
  NetlinkError,
  NetlinkSocket,
  putIngressFilter,
  putTokenBucket,
  removeRootQueue,
  type NetlinkRequest,
} from '../netlink/index.ts'
import { addressProbes, announcements } from './announcement.ts'
import { findProblems } from './check.ts'
import { assertNetworkNamespace, addSourceRouting, ContainerEnd } from './container-side.ts'
import { DriftFinder } from './drift-finder.ts'
import { decodeDuplicate, duplicateKeySize } from './duplicate-layout.ts'
import { IngressPromoter } from './ingress-promoter.ts'
import { hookUplink, ingressFilter } from './ingress-hook.ts'
import { hardenHostLeg } from './host-leg.ts'
import { decodeAlias, encodeAlias } from './interface-alias.ts'
import { InterfaceRemover } from './interface-remover.ts'
import {
  CountersReader,
  decodeEndpoint,
  encodeEndpoint,
  endpointSize,
  forwardingKey,
  maximumSlots,
  slotKey,
} from './map-layout.ts'
import { heardKey, probeFrame } from './probe.ts'
import { Limiter } from './limiter.ts'
import { findNodeDamage, type NodeParts } from './node-damage.ts'
import { PinKeeper } from './pin-keeper.ts'
import { loadPrograms, removeOldVersions, type Programs } from './programs.ts'
import { SoftVfReceiveControl } from './receive-control.ts'
import { capBucket, hostInterfaceIndex, hostInterfaceName, type Rates } from './shaping.ts'
import { SlotTable } from './slot-table.ts'
import { SpareInterfaces, type ContainerInterface, type MadeInterface } from './spare-interfaces.ts'
import { inspectUplink, type UplinkState } from './uplink.ts'
import { UplinkShaper } from './uplink-shaper.ts'

/** What the soft-vf engine needs to know of its node. */
export interface SoftVfOptions {
  /** Device that endpoints send through. */
  uplink: string
  /** What it gives at the start, and what of it is kept for other planes. */
  limits: UplinkLimits
  /** Folder with the compiled programs. */
  objects: string
  /** Folder in a bpffs for pins; one for each node. */
  pins: string
  logger: Logger
}

/** Bytes of an 802.1Q tag. */
const tagLength = 4

/** The engine of veth pairs and eBPF programs; see docs/data-path.md. */
export function createSoftVfEngine(options: SoftVfOptions): NetworkEngine {
  return new SoftVfEngine(options)
}

class SoftVfEngine implements NetworkEngine {
  readonly #options: SoftVfOptions
  readonly #socket = NetlinkSocket.open()
  readonly #lock = new KeyedLock()
  readonly #counters = new CountersReader()
  readonly #slots = new SlotTable()
  readonly #spare = new SpareInterfaces({
    make: (container) => this.#makeInterface(container),
    remove: ({ slot, inside }, container) => {
      inside[Symbol.dispose]()
      return this.#abandon(slot, container)
    },
  })
  readonly #remover: InterfaceRemover
  readonly receiving = new SoftVfReceiveControl(
    () => this.#programs?.receiving,
    () => this.#limiter,
    (slot) => this.#slots.endpointIds.get(slot),
  )
  #programs: Programs | undefined
  #promoter: IngressPromoter | undefined
  #uplink: UplinkState | undefined
  #shaper: UplinkShaper | undefined
  #limiter: Limiter | undefined
  #driftFinder: DriftFinder | undefined
  #pinKeeper: PinKeeper | undefined

  constructor(options: SoftVfOptions) {
    this.#options = options
    this.#remover = new InterfaceRemover((slots) => this.#forget(slots), options.logger)
  }

  async start(): Promise<void> {
    const { uplink, limits } = this.#options
    const state = (this.#uplink = inspectUplink(this.#socket, uplink))
    const programs = (this.#programs = await loadPrograms(this.#options))
    programs.configure(state.index)
    this.#limiter = new Limiter(programs.fromLimiter)
    await this.#limiter.start()
    this.#promoter = new IngressPromoter(programs.fromEndpoint, (slot) => this.#slots.endpointIds.has(slot))
    this.#recover(programs)
    await this.#startShaper(limits)
    await this.#hook(state)
    this.#driftFinder = this.#makeDriftFinder(programs)
    if (programs.fresh) {
      await this.#socket.must([...this.#slots.endpointIds.keys()].map((slot) => this.#filterOf(slot)))
      removeOldVersions(this.#options)
    }
    this.#pinKeeper = new PinKeeper(this.#options.pins)
  }

  #makeDriftFinder(programs: Programs): DriftFinder {
    return new DriftFinder({
      socket: this.#socket,
      programs,
      slotOf: (endpointId) => this.#slots.slotOf(endpointId),
      find: (endpointId) => this.#slots.find(endpointId),
      nodeDamage: (withClasses) => findNodeDamage(this.#nodeParts(programs), withClasses),
      whileAttached: (endpointId, work) =>
        this.#lock.run(endpointId, async () => {
          if (this.#slots.find(endpointId)) await work()
        }),
      forget: (endpointId, request) => {
        const slot = this.#slots.slotOf(endpointId)
        if (slot !== undefined) void this.#abandon(slot, request)
      },
    })
  }

  #nodeParts(programs: Programs): NodeParts {
    const { uplink: name, pins } = this.#options
    return {
      ...{ socket: this.#socket, programs, shaper: this.#shaper!, limiter: this.#limiter!, pins: this.#pinKeeper! },
      uplink: { name, index: this.#uplink!.index },
      linkPath: join(pins, 'uplink'),
      hook: () => this.#hook(this.#uplink!),
    }
  }

  findDrift(requests: AttachRequest[], suspects: ReadonlySet<string>): Drift[] {
    return this.#driftFinder?.find(requests, suspects) ?? []
  }

  async #startShaper(limits: UplinkLimits): Promise<void> {
    const { index } = this.#uplink!
    const device = { name: this.#options.uplink, index }
    const shaper = (this.#shaper = new UplinkShaper(this.#socket, device, limits, (isShaped) =>
      this.#programs?.configure(index, isShaped),
    ))
    await shaper.start([...this.#slots.endpointIds].map(([slot, endpointId]) => [slot, this.#slots.find(endpointId)!]))
  }

  async #hook({ index }: UplinkState): Promise<void> {
    const { uplink, pins } = this.#options
    await hookUplink(this.#socket, { name: uplink, index }, this.#programs!.fromWire, join(pins, 'uplink'))
  }

  async changeUplink(limits: UplinkLimits): Promise<void> {
    const before = this.#uplink!.index
    const state = (this.#uplink = inspectUplink(this.#socket, this.#options.uplink))
    if (state.index === before) return this.#shaper!.changeLink(limits)
    // The device was removed and made anew: tree and program went with the old one.
    this.#programs!.configure(state.index, false)
    await this.#startShaper(limits)
    await this.#hook(state)
  }

  /** Reads who is attached from maps and interfaces; an interface or entry without its other half is removed. */
  #recover(programs: Programs): void {
    const links = this.#socket.dump(listLinks('veth')).map((message) => decodeLink(message)!)
    const interfaces = new Map(links.map((link) => [link.index, link]))
    for (let slot = 1; slot < maximumSlots; slot++) {
      const entry = decodeEndpoint(programs.endpoints.get(slotKey(slot))!)
      const link = interfaces.get(hostInterfaceIndex(slot))
      const alias = decodeAlias(link?.alias)
      if (entry && link && alias?.endpointId === entry.endpointId) {
        this.#remember(slot, { ...entry, ...alias, hostInterface: link.name, mtu: link.mtu })
      } else if (entry ?? link) {
        this.#cutOff(slot, entry)
        void this.#remove(slot, alias)
      }
    }
  }

  prepare(container: ContainerPlace): Disposable {
    return this.#spare.prepare(container)
  }

  attach(request: AttachRequest, confirmed?: Promise<unknown>): Promise<AttachedEndpoint> {
    return this.#lock.run(request.endpointId, async () => {
      const known = this.#slots.find(request.endpointId)
      if (!known) return this.#create(request, confirmed)
      assertSameRequest(known, request)
      await addSourceRouting(request)
      return known
    })
  }

  async #create(request: AttachRequest, confirmed?: Promise<unknown>): Promise<AttachedEndpoint> {
    const made = await this.#spare.take(request)
    const { slot } = made
    try {
      const endpoint = await this.#build(request, made)
      this.#programs!.startCounting(slot)
      await confirmed
      this.#open(slot, endpoint)
      return endpoint
    } catch (error) {
      void this.#abandon(slot, request)
      throw describeFailure(error, request)
    }
  }

  /**
   * Makes an interface that belongs to no endpoint yet: its program drops every frame, and without an alias it is removed
   * by the next start.
   */
  async #makeInterface(container: ContainerPlace): Promise<MadeInterface> {
    assertNetworkNamespace(container.netns)
    const slot = this.#slots.take()
    const [name, index] = [hostInterfaceName(slot), hostInterfaceIndex(slot)]
    let namespace: number | undefined
    try {
      namespace = openSync(container.netns, 'r')
      await this.#socket.must([
        addVeth({ name, index, mtu: this.#usualMtu, peer: { name: container.interfaceName, namespace } }),
        changeLink(name, index, { formsLinkLocal: false }),
        ...ingressFilter(name, index, this.#programs!.fromEndpoint),
      ])
      return { slot, inside: new ContainerEnd(container) }
    } catch (error) {
      void this.#abandon(slot, container)
      throw describeFailure(error, container)
    } finally {
      if (namespace !== undefined) closeSync(namespace)
    }
  }

  /** What the uplink carries less the VLAN tag. */
  get #usualMtu(): number {
    return this.#uplink!.mtu - tagLength
  }

  async #build(request: AttachRequest, { slot, inside }: MadeInterface): Promise<AttachedEndpoint> {
    using end = inside
    const [host, index] = [hostInterfaceName(slot), hostInterfaceIndex(slot)]
    const mtu = request.mtu ?? this.#usualMtu
    const hostSide = this.#shaper!.shape(slot, request, [
      changeLink(host, index, { alias: encodeAlias(request), ...(mtu === this.#usualMtu ? {} : { mtu }) }),
      ...receiveCap(slot, request), // before it is up: to change the queue of a device in use takes longer
      changeLink(host, index, { isUp: true }),
    ])
    await end.configure(request, mtu, hostSide).finally(() => hostSide)
    if (request.isHostLeg) hardenHostLeg(request.interfaceName)
    const { endpointId, endpointName, containerId, interfaceName, macAddress, vlan, bandwidthFloor, bandwidthCap } =
      request
    const addresses = request.addresses.map(({ address }) => address)
    return {
      endpointId, endpointName, containerId, interfaceName, hostInterface: host, macAddress, addresses, vlan, mtu,
      bandwidthFloor, ...(bandwidthCap ? { bandwidthCap } : {}), ...(request.isHostLeg ? { isHostLeg: true } : {}),
    } // prettier-ignore
  }

  /** From here on the endpoint can send and receive: until now its program knew nobody in the slot. */
  #open(slot: number, endpoint: AttachedEndpoint): void {
    const { endpoints, forwarding } = this.#programs!
    endpoints.set(slotKey(slot), encodeEndpoint(endpoint))
    forwarding.set(forwardingKey(endpoint.macAddress, endpoint.vlan), slot)
    this.#remember(slot, endpoint)
    setImmediate(() => this.#announce(endpoint.endpointId)) // whoever asked need not wait for it
  }

  #announce(endpointId: string): void {
    const endpoint = this.#slots.find(endpointId)
    if (!endpoint) return
    try {
      for (const frame of announcements(endpoint.macAddress, endpoint.addresses)) {
        this.#programs?.sendFrame(frame, endpoint.vlan, true)
      }
    } catch (err) {
      this.#options.logger.warn({ err, endpointId }, 'the addresses of an endpoint could not be announced')
    }
  }

  #filterOf(slot: number): NetlinkRequest {
    return putIngressFilter(hostInterfaceName(slot), hostInterfaceIndex(slot), this.#programs!.fromEndpoint)
  }

  detach(endpointId: string): Promise<void> {
    return this.#lock.run(endpointId, async () => {
      const slot = this.#slots.slotOf(endpointId)
      const endpoint = this.#slots.find(endpointId)
      if (slot === undefined || !endpoint) return
      this.#cutOff(slot, endpoint)
      void this.#remove(slot, endpoint)
    })
  }

  #abandon(slot: number, container: ContainerInterface & { macAddress?: string; vlan?: number }): Promise<void> {
    const { macAddress, vlan } = container
    this.#cutOff(slot, macAddress === undefined || vlan === undefined ? undefined : { macAddress, vlan })
    return this.#remove(slot, container)
  }

  /** From here on the container can neither send nor receive; takes microseconds. */
  #cutOff(slot: number, endpoint: { macAddress: string; vlan: number } | undefined): void {
    const programs = this.#programs!
    if (endpoint) {
      programs.forwarding.delete(forwardingKey(endpoint.macAddress, endpoint.vlan), slot)
    }
    programs.endpoints.set(slotKey(slot), Buffer.alloc(endpointSize))
    programs.stopCounting(slot)
    this.#slots.vacate(slot)
  }

  /** Until its interface is gone the program stays on it: without, the container's frames would reach the node itself. */
  #remove(slot: number, container: ContainerInterface | undefined): Promise<void> {
    const removal = this.#remover.remove(slot, hostInterfaceName(slot))
    this.#spare.leave(container, removal)
    return removal
  }

  async #forget(slots: number[]): Promise<void> {
    await this.#shaper!.remove(slots).catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'removing traffic classes failed')
    })
    this.#slots.free(slots)
  }

  shape(endpointId: string, rates: Rates): Promise<void> {
    return this.#lock.run(endpointId, async () => {
      const slot = this.#slots.slotOf(endpointId)
      const endpoint = this.#slots.find(endpointId)
      if (slot === undefined || !endpoint) return
      const changed: AttachedEndpoint = { ...endpoint, bandwidthCap: undefined, ...rates }
      await this.#socket.must(receiveCap(slot, rates))
      await this.#shaper!.shape(slot, rates)
      if (!rates.bandwidthCap && endpoint.bandwidthCap) {
        await this.#socket.change([removeRootQueue(endpoint.hostInterface, hostInterfaceIndex(slot))])
      }
      this.#programs!.endpoints.set(slotKey(slot), encodeEndpoint(changed))
      this.#remember(slot, changed)
    })
  }

  attached(): Promise<AttachedEndpoint[]> {
    return Promise.resolve(this.#slots.attached())
  }

  async check(request: AttachRequest): Promise<EngineProblem[]> {
    const slot = this.#slots.slotOf(request.endpointId)
    if (slot === undefined) return [{ reason: 'NotAttached', message: `${request.endpointName} is not attached here` }]
    const uplink = { name: this.#options.uplink, index: this.#uplink!.index }
    return findProblems(this.#socket, this.#programs!, request, slot, this.#shaper!.isShaped ? uplink : undefined)
  }

  counters(): EndpointCounters[] {
    return this.#programs ? this.#counters.read(this.#programs.readCounters(), this.#slots.endpointIds) : []
  }

  sendProbe(nodeName: string, vlan: number): void {
    this.#programs?.sendFrame(probeFrame(nodeName), vlan, false)
  }

  probeHeard(nodeName: string, vlan: number): number | undefined {
    const heard = this.#programs?.heard.get(heardKey(nodeName, vlan))
    return heard && Number(process.hrtime.bigint() - heard.readBigUInt64LE()) / 1e6
  }

  probeAddresses(endpointId: string): void {
    const endpoint = this.#slots.find(endpointId)
    if (!endpoint) return
    for (const frame of addressProbes(endpoint.macAddress, endpoint.addresses)) {
      this.#programs?.sendFrame(frame, endpoint.vlan, false)
    }
  }

  foreignUses(): ForeignUse[] {
    const duplicates = this.#programs?.duplicates
    const ownerOf = (slot: number): AttachedEndpoint | undefined =>
      this.#slots.find(this.#slots.endpointIds.get(slot) ?? '')
    return (duplicates?.keys(duplicateKeySize) ?? []).flatMap((key) => {
      const value = duplicates?.get(key)
      return (value && decodeDuplicate(key, value, ownerOf, process.hrtime.bigint())) ?? []
    })
  }

  async stop(): Promise<void> {
    await this.#spare.stop()
    await nextTurn() // by then what nobody wants of it is on its way out
    await this.#remover.stop()
    await this.#promoter?.stop()
    this.#driftFinder?.close()
    this.#driftFinder = undefined
    this.#pinKeeper?.[Symbol.dispose]()
    this.#socket.close()
    this.#limiter?.close()
    this.#limiter = undefined
    this.#programs?.close()
    this.#programs = undefined
  }

  #remember(slot: number, endpoint: AttachedEndpoint): void {
    this.#slots.put(slot, endpoint)
    this.#promoter!.add(slot)
  }
}

/** Requests that hold what a container receives to its cap, at the host end. */
function receiveCap(slot: number, { bandwidthCap }: Rates): NetlinkRequest[] {
  if (!bandwidthCap) return []
  return [putTokenBucket(hostInterfaceName(slot), hostInterfaceIndex(slot), capBucket(bandwidthCap))]
}

function assertSameRequest(known: AttachedEndpoint, request: AttachRequest): void {
  const same =
    known.containerId === request.containerId &&
    known.interfaceName === request.interfaceName &&
    known.macAddress === request.macAddress &&
    known.vlan === request.vlan
  if (same) return
  throw new Conflict(
    `endpoint ${request.endpointName} is attached to container ${known.containerId} as ${known.interfaceName}`,
    { remedy: 'Detach it there first.' },
  )
}

function describeFailure(error: unknown, container: ContainerPlace): Error {
  const { containerId, interfaceName, netns } = container
  if (error instanceof NetlinkError && error.isAlreadyThere) {
    return new Conflict(`container ${containerId} already has an interface ${interfaceName} or its routes`, {
      remedy: 'Ask for another interface name, or detach the old one.',
      cause: error,
    })
  }
  if (error instanceof CarbonadoError && error.code !== 'Internal') return error
  const message = error instanceof Error ? error.message : String(error)
  return new Internal(`attaching ${interfaceName} to ${netns} failed: ${message}`, { cause: error })
}
