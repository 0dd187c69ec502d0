import { join } from 'node:path'
import { CarbonadoError, Conflict, execJson, Exhausted, Internal, KeyedLock, type Logger } from '../../base/index.ts'
import type {
  AttachedEndpoint,
  AttachRequest,
  EndpointCounters,
  EngineProblem,
  ForeignUse,
  NetworkEngine,
} from '../engine.ts'
import { addressProbes, announcements } from './announcement.ts'
import { BatchProcess } from './batch-process.ts'
import { findProblems } from './check.ts'
import { assertNetworkNamespace, containerCommands, ContainerConfigurator } from './container-side.ts'
import { decodeDuplicate, duplicateKeySize } from './duplicate-layout.ts'
import { hookUplink, ingressFilterCommands, replaceIngressFilterCommand } from './ingress-hook.ts'
import { decodeAlias, encodeAlias } from './interface-alias.ts'
import { InterfaceRemover } from './interface-remover.ts'
import {
  decodeCounters,
  decodeEndpoint,
  encodeEndpoint,
  endpointSize,
  forwardingKey,
  freshCounters,
  maximumSlots,
  slotKey,
} from './map-layout.ts'
import { heardKey, probeFrame } from './probe.ts'
import { loadPrograms, removeOldVersions, type Programs } from './programs.ts'
import { capCommand, hostInterfaceIndex, hostInterfaceName, type Rates } from './shaping.ts'
import { SoftVfReceiveControl } from './receive-control.ts'
import { inspectUplink, type UplinkState } from './uplink.ts'
import { UplinkShaper } from './uplink-shaper.ts'

/** What the soft-vf engine needs to know of its node. */
export interface SoftVfOptions {
  /** Device that endpoints send through. */
  uplink: string
  /** Bits per second of the uplink. */
  linkRate: number
  /** Folder with the compiled programs. */
  objects: string
  /** Folder in a bpffs for pins; one for each node. */
  pins: string
  logger: Logger
}

/** Bytes of an 802.1Q tag. */
const tagLength = 4

type ContainerInterface = Pick<AttachRequest, 'containerId' | 'interfaceName'>

/** The engine of veth pairs and eBPF programs; see docs/data-path.md. */
export function createSoftVfEngine(options: SoftVfOptions): NetworkEngine {
  return new SoftVfEngine(options)
}

class SoftVfEngine implements NetworkEngine {
  readonly #options: SoftVfOptions
  readonly #ip = BatchProcess.ip()
  readonly #tc = BatchProcess.tc()
  readonly #lock = new KeyedLock()
  /** Slots in use, those whose interface is still being removed included. */
  readonly #slots = new Map<number, AttachedEndpoint | 'removing'>()
  readonly #slotOf = new Map<string, number>()
  readonly #endpointIds = new Map<number, string>()
  /** Started by `prepare` and not used yet, by network namespace. */
  readonly #prepared = new Map<string, ContainerConfigurator>()
  /** Interfaces on their way out, by their container and name there: until they are gone the name is taken. */
  readonly #leaving = new Map<string, Promise<void>>()
  readonly #remover: InterfaceRemover
  readonly receiving = new SoftVfReceiveControl(
    () => this.#programs?.receiving,
    (slot) => this.#endpointIds.get(slot),
  )
  #programs: Programs | undefined
  #uplink: UplinkState | undefined
  #shaper: UplinkShaper | undefined

  constructor(options: SoftVfOptions) {
    this.#options = options
    this.#remover = new InterfaceRemover((slots) => this.#forget(slots), options.logger)
  }

  async start(): Promise<void> {
    const { uplink, linkRate } = this.#options
    const state = (this.#uplink = await inspectUplink(uplink))
    const programs = (this.#programs = await loadPrograms(this.#options))
    programs.configure(state.index)
    const shaper = (this.#shaper = new UplinkShaper(this.#tc, uplink, linkRate, (isShaped) =>
      this.#programs?.configure(state.index, isShaped),
    ))
    await this.#recover(programs)
    await shaper.start([...this.#slotOf].map(([endpointId, slot]) => [slot, this.#find(endpointId)!]))
    const device = { name: uplink, index: state.index }
    await hookUplink(this.#tc, device, programs.fromWire, join(this.#options.pins, 'uplink'))
    if (!programs.fresh) return
    await this.#tc.must([...this.#slotOf.values()].map((slot) => this.#filterCommand(slot)))
    removeOldVersions(this.#options)
  }

  /** Reads who is attached from maps and interfaces; an interface or entry without its other half is removed. */
  async #recover(programs: Programs): Promise<void> {
    const links = await execJson<{ ifindex: number; ifname: string; ifalias?: string; mtu: number }[]>([
      'ip', '-json', 'link', 'show', 'type', 'veth',
    ]) // prettier-ignore
    const interfaces = new Map((links ?? []).map((link) => [link.ifindex, link]))
    for (let slot = 1; slot < maximumSlots; slot++) {
      const entry = decodeEndpoint(programs.endpoints.get(slotKey(slot))!)
      const link = interfaces.get(hostInterfaceIndex(slot))
      const alias = decodeAlias(link?.ifalias)
      if (entry && link && alias?.endpointId === entry.endpointId) {
        this.#remember(slot, { ...entry, ...alias, hostInterface: link.ifname, mtu: link.mtu })
      } else if (entry ?? link) {
        this.#cutOff(slot, entry)
        this.#removeLater(slot, alias)
      }
    }
  }

  prepare(netns: string): Disposable {
    const configurator = new ContainerConfigurator(netns)
    this.#prepared.set(netns, configurator)
    return {
      [Symbol.dispose]: () => {
        if (this.#prepared.get(netns) === configurator) this.#prepared.delete(netns)
        configurator[Symbol.dispose]()
      },
    }
  }

  #takeConfigurator(netns: string): ContainerConfigurator {
    const prepared = this.#prepared.get(netns)
    this.#prepared.delete(netns)
    return prepared ?? new ContainerConfigurator(netns)
  }

  attach(request: AttachRequest): Promise<AttachedEndpoint> {
    return this.#lock.run(request.endpointId, async () => {
      const known = this.#find(request.endpointId)
      if (!known) return this.#create(request)
      assertSameRequest(known, request)
      return known
    })
  }

  async #create(request: AttachRequest): Promise<AttachedEndpoint> {
    await this.#leaving.get(placeOf(request))
    assertNetworkNamespace(request.netns)
    using configurator = this.#takeConfigurator(request.netns)
    const slot = this.#takeSlot()
    try {
      const endpoint = await this.#build(request, slot, configurator)
      this.#remember(slot, endpoint)
      return endpoint
    } catch (error) {
      this.#cutOff(slot, request)
      this.#removeLater(slot, request)
      throw describeFailure(error, request)
    }
  }

  async #build(request: AttachRequest, slot: number, configurator: ContainerConfigurator): Promise<AttachedEndpoint> {
    // What the container sends is held to its cap gently, inside; the bucket at the host end is for who removes this.
    using shaper = request.bandwidthCap ? new ContainerConfigurator(request.netns, 'tc') : undefined
    const host = hostInterfaceName(slot)
    const mtu = request.mtu ?? this.#uplink!.mtu - tagLength
    const entry = { ...request, addresses: request.addresses.map((each) => each.address) }
    await this.#ip.must([
      `link add name ${host} index ${hostInterfaceIndex(slot)} mtu ${mtu} type veth ` +
        `peer name ${request.interfaceName} address ${request.macAddress} mtu ${mtu} netns ${request.netns}`,
      `link set dev ${host} addrgenmode none`,
      `link set dev ${host} alias ${encodeAlias(request)} up`,
    ])
    this.#programs!.counters.set(slotKey(slot), freshCounters())
    this.#programs!.endpoints.set(slotKey(slot), encodeEndpoint(entry))
    this.#programs!.forwarding.set(forwardingKey(request.macAddress, request.vlan), slotKey(slot))
    await this.#tc.must([
      ...ingressFilterCommands(host, this.#programs!.fromEndpoint),
      ...receiveCapCommands(host, request),
    ])
    await this.#shaper!.shape(slot, request)
    await configurator.run(containerCommands(request)) // from here on it may send: filter and class are there
    if (request.bandwidthCap) await shaper?.run([capCommand(request.interfaceName, request.bandwidthCap)])
    for (const frame of announcements(request.macAddress, entry.addresses)) {
      this.#programs!.sendFrame(frame, request.vlan, true)
    }
    const { endpointId, endpointName, containerId, interfaceName, macAddress, vlan, bandwidthFloor, bandwidthCap } =
      request
    const { addresses } = entry
    return {
      endpointId, endpointName, containerId, interfaceName, hostInterface: host, macAddress, addresses, vlan, mtu,
      bandwidthFloor, ...(bandwidthCap ? { bandwidthCap } : {}),
    } // prettier-ignore
  }

  #filterCommand(slot: number): string {
    return replaceIngressFilterCommand(hostInterfaceName(slot), this.#programs!.fromEndpoint)
  }

  detach(endpointId: string): Promise<void> {
    return this.#lock.run(endpointId, async () => {
      const slot = this.#slotOf.get(endpointId)
      const endpoint = this.#find(endpointId)
      if (slot === undefined || !endpoint) return
      this.#cutOff(slot, endpoint)
      this.#removeLater(slot, endpoint)
    })
  }

  /** From here on the container can neither send nor receive; takes microseconds. */
  #cutOff(slot: number, endpoint: { macAddress: string; vlan: number } | undefined): void {
    const programs = this.#programs!
    if (endpoint) {
      const key = forwardingKey(endpoint.macAddress, endpoint.vlan)
      if (programs.forwarding.get(key)?.readUInt32LE() === slot) programs.forwarding.delete(key)
    }
    programs.endpoints.set(slotKey(slot), Buffer.alloc(endpointSize))
    programs.counters.set(slotKey(slot), Buffer.alloc(freshCounters().length))
    const id = this.#endpointIds.get(slot)
    if (id) this.#slotOf.delete(id)
    this.#endpointIds.delete(slot)
    this.#slots.set(slot, 'removing')
  }

  /** Until its interface is gone the program stays on it: without, the container's frames would reach the node itself. */
  #removeLater(slot: number, container?: ContainerInterface): void {
    const removal = this.#remover.remove(slot, hostInterfaceName(slot))
    if (!container) return
    const place = placeOf(container)
    this.#leaving.set(place, removal)
    void removal.then(() => {
      if (this.#leaving.get(place) === removal) this.#leaving.delete(place)
    })
  }

  async #forget(slots: number[]): Promise<void> {
    await this.#shaper!.remove(slots).catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'removing traffic classes failed')
    })
    for (const slot of slots) this.#slots.delete(slot)
  }

  shape(endpointId: string, rates: Rates): Promise<void> {
    return this.#lock.run(endpointId, async () => {
      const slot = this.#slotOf.get(endpointId)
      const endpoint = this.#find(endpointId)
      if (slot === undefined || !endpoint) return
      const changed: AttachedEndpoint = { ...endpoint, bandwidthCap: undefined, ...rates }
      await this.#tc.must(receiveCapCommands(endpoint.hostInterface, rates))
      await this.#shaper!.shape(slot, rates)
      if (!rates.bandwidthCap && endpoint.bandwidthCap) {
        await this.#tc.run([`qdisc del dev ${endpoint.hostInterface} root`])
      }
      this.#programs!.endpoints.set(slotKey(slot), encodeEndpoint(changed))
      this.#remember(slot, changed)
    })
  }

  attached(): Promise<AttachedEndpoint[]> {
    return Promise.resolve([...this.#slots.values()].filter((endpoint) => endpoint !== 'removing'))
  }

  async check(request: AttachRequest): Promise<EngineProblem[]> {
    const slot = this.#slotOf.get(request.endpointId)
    if (slot === undefined) return [{ reason: 'NotAttached', message: `${request.endpointName} is not attached here` }]
    return findProblems(this.#programs!, request, slot, this.#shaper!.isShaped ? this.#options.uplink : undefined)
  }

  counters(): EndpointCounters[] {
    return this.#programs ? decodeCounters(this.#programs.readCounters(), this.#endpointIds) : []
  }

  sendProbe(nodeName: string, vlan: number): void {
    this.#programs?.sendFrame(probeFrame(nodeName), vlan, false)
  }

  probeHeard(nodeName: string, vlan: number): number | undefined {
    const heard = this.#programs?.heard.get(heardKey(nodeName, vlan))
    return heard && Number(process.hrtime.bigint() - heard.readBigUInt64LE()) / 1e6
  }

  probeAddresses(endpointId: string): void {
    const endpoint = this.#find(endpointId)
    if (!endpoint) return
    for (const frame of addressProbes(endpoint.macAddress, endpoint.addresses)) {
      this.#programs?.sendFrame(frame, endpoint.vlan, false)
    }
  }

  foreignUses(): ForeignUse[] {
    const duplicates = this.#programs?.duplicates
    const ownerOf = (slot: number): AttachedEndpoint | undefined => this.#find(this.#endpointIds.get(slot) ?? '')
    return (duplicates?.keys(duplicateKeySize) ?? []).flatMap((key) => {
      const value = duplicates?.get(key)
      return (value && decodeDuplicate(key, value, ownerOf, process.hrtime.bigint())) ?? []
    })
  }

  async stop(): Promise<void> {
    await this.#remover.stop()
    this.#ip.stop()
    this.#tc.stop()
    this.#programs?.close()
    this.#programs = undefined
  }

  #find(endpointId: string): AttachedEndpoint | undefined {
    const slot = this.#slotOf.get(endpointId)
    const endpoint = slot === undefined ? undefined : this.#slots.get(slot)
    return endpoint === 'removing' ? undefined : endpoint
  }

  #remember(slot: number, endpoint: AttachedEndpoint): void {
    this.#slots.set(slot, endpoint)
    this.#slotOf.set(endpoint.endpointId, slot)
    this.#endpointIds.set(slot, endpoint.endpointId)
  }

  #takeSlot(): number {
    for (let slot = 1; slot < maximumSlots; slot++) {
      if (this.#slots.has(slot)) continue
      this.#slots.set(slot, 'removing') // not attached yet, but taken
      return slot
    }
    throw new Exhausted(`all ${maximumSlots - 1} interfaces of the node are in use`, {
      remedy: 'Start the container on another node.',
    })
  }
}

function placeOf({ containerId, interfaceName }: ContainerInterface): string {
  return `${containerId}/${interfaceName}`
}

/** tc commands that hold what a container receives to its cap, at the host end. */
function receiveCapCommands(host: string, { bandwidthCap }: Rates): string[] {
  return bandwidthCap ? [capCommand(host, bandwidthCap)] : []
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

function describeFailure(error: unknown, request: AttachRequest): Error {
  if (error instanceof CarbonadoError && error.code !== 'Internal') return error
  const message = error instanceof Error ? error.message : String(error)
  if (/File exists/.test(message)) {
    return new Conflict(
      `container ${request.containerId} already has an interface ${request.interfaceName} or its addresses`,
      {
        remedy: 'Ask for another interface name, or detach the old one.',
        cause: error,
      },
    )
  }
  return new Internal(`attaching ${request.endpointName} to ${request.netns} failed: ${message}`, { cause: error })
}
