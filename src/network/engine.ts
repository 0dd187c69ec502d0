import type { ReceiveControl } from './receive-control.ts'
import type { PlaneReserve } from '../guarantee/index.ts'

/** What the uplink gives now, and what of it is kept for the node's other planes. */
export interface UplinkLimits {
  /** Bits per second; 0 while it has no carrier or nobody knows. */
  linkRate: number
  /** Planes that send over the same link. */
  reserves: PlaneReserve[]
}

/** Where an interface is, seen from the runtime. */
export interface ContainerPlace {
  containerId: string
  /** Network namespace as a path, as CNI_NETNS gives it. */
  netns: string
  interfaceName: string
}

/** Everything an engine needs to make one endpoint exist on this node. */
export interface AttachRequest extends ContainerPlace {
  /** uid of the Endpoint object: the engine's identity for it. */
  endpointId: string
  /** namespace/name of the Endpoint object, kept with the interface so that the kernel alone can tell. */
  endpointName: string
  macAddress: string
  /** At most one per IP family. */
  addresses: { address: string; prefixLength: number; gateway?: string }[]
  /** 0 is untagged. */
  vlan: number
  /** Absent: what the uplink carries less the VLAN tag. */
  mtu?: number
  /** Bits per second promised for sending; 0 is best effort. */
  bandwidthFloor: number
  /** Bits per second never exceeded, each direction; absent is no cap. */
  bandwidthCap?: number
  /**
   * Metric of the default routes by the gateways of `addresses`, in both IP families; the lowest of a container wins.
   * Absent: the kernel's own (0 for IPv4, 1024 for IPv6), for a container with one interface.
   */
  defaultRouteMetric?: number
  /**
   * Routing table, and preference of its rules, for packets that the container sends from one of `addresses`: they leave
   * by this interface whatever the main table says. For each address a rule `from ADDRESS lookup TABLE`, and in the table
   * the subnet and the default route by the gateway. Rules that an earlier interface with the same address left are
   * removed. Absent: no table and no rules.
   */
  routingTable?: number
  /** Further routes by this interface, in the order in which they are made; with a table they are in both. */
  routes?: EndpointRoute[]
  /**
   * The node's own leg in a VLAN, whose `netns` is the node's own: it may send from any IPv4 address, as a router does, and
   * has no IPv6.
   */
  isHostLeg?: true
}

/** A route inside a container: to a subnet on the link, or by way of a gateway on it. */
export interface EndpointRoute {
  /** CIDR. */
  destination: string
  gateway?: string
}

/** An endpoint as the kernel has it; found again after any restart. */
export interface AttachedEndpoint {
  endpointId: string
  endpointName: string
  containerId: string
  interfaceName: string
  hostInterface: string
  macAddress: string
  addresses: string[]
  vlan: number
  mtu: number
  bandwidthFloor: number
  bandwidthCap?: number
  isHostLeg?: true
}

/** Why a frame was dropped, counted per endpoint. */
export const dropReasons = [
  'spoofed-mac',
  'spoofed-ip',
  'spoofed-arp',
  'spoofed-nd',
  'vlan-tag',
  'protocol',
  'malformed',
  'cap',
  'receiver-limit',
] as const
export type DropReason = (typeof dropReasons)[number]

/** Counters of one endpoint since it was attached; `sent` is from the container. */
export interface EndpointCounters {
  endpointId: string
  sentBytes: number
  sentPackets: number
  receivedBytes: number
  receivedPackets: number
  drops: Record<DropReason, number>
  /** Bytes that left by the uplink after shaping. */
  deliveredBytes: number
  /** One-second windows with demand, and those of them in which the floor was delivered (at least 95 %). */
  windows: { withDemand: number; attained: number }
}

/** Another host says that an endpoint's address is its own, or sends under its MAC. */
export interface ForeignUse {
  endpointId: string
  /** IPv4, IPv6 or MAC address. */
  address: string
  /** MAC of the other host; the same as `address` when that is what it uses. */
  macAddress: string
  /** Milliseconds since it was last heard to say so. */
  sinceHeard: number
}

/** A difference between what should be and what the kernel has. */
export interface EngineProblem {
  reason: string
  message: string
}

/** A part of the datapath that somebody has changed by hand, or that was lost. */
export interface Drift {
  /** Absent: it is about the node's uplink. */
  endpointId?: string
  reason: string
  message: string
  /** Whether it is inside the container, which may have done it itself. */
  isInside: boolean
  /** It follows from a change that was wanted: nothing to tell anybody. */
  isExpected?: true
  /** Makes it right if it still is as found; absent: nothing here can. */
  repair?: () => Promise<void>
  /** The interface has gone. After `repair` the endpoint is not attached any more and can be attached anew. */
  isGone?: true
}

/**
 * Attaches endpoints to network namespaces, shapes, counts and detaches them.
 * All operations are idempotent; after a crash at any point `attached` tells from the kernel alone what exists.
 */
export interface NetworkEngine {
  /** Loads or adopts the datapath; an unchanged datapath is not touched. */
  start(): Promise<void>
  /**
   * Starts what takes time before it is known what to attach there; `attach` then uses it, and tells what went wrong.
   * Never throws. Dispose of it afterwards, attached or not.
   */
  prepare(container: ContainerPlace): Disposable
  /**
   * Attaching what is attached with the same request changes nothing; with another one: Conflict. A `routingTable` that
   * it has not got yet is added: the container has got another interface since.
   * Where `confirmed` is given, the endpoint can send and receive only from when it has resolved; if it rejects, nothing
   * is attached.
   */
  attach(request: AttachRequest, confirmed?: Promise<unknown>): Promise<AttachedEndpoint>
  /** Returns when the container can no longer send or receive; the interface itself may go shortly after. */
  detach(endpointId: string): Promise<void>
  /** Changes floor and cap (bits per second) of an attached endpoint without touching its traffic otherwise. */
  shape(endpointId: string, rates: { bandwidthFloor: number; bandwidthCap?: number }): Promise<void>
  /**
   * The uplink gives another rate, something else is kept of it, or its device changed (MTU, made anew). Floors that no
   * longer fit are kept in proportion. Touches no frame otherwise.
   */
  changeUplink(limits: UplinkLimits): Promise<void>
  attached(): Promise<AttachedEndpoint[]>
  /** Compares interface, addresses, programs, map entries and classes with the request; empty when all is well. */
  check(request: AttachRequest): Promise<EngineProblem[]>
  /**
   * Compares the datapath with what was made, of the endpoints of these requests and the uplink: what the kernel has
   * announced as changed since the last call, a part of the rest by turns, and all of the suspects (endpointIds). Only
   * looks. What is under way is seen half done: what is not found again a moment later was nothing.
   */
  findDrift(requests: AttachRequest[], suspects: ReadonlySet<string>): Drift[]
  /** Reads all counters; cheap (one file read). */
  counters(): EndpointCounters[]
  /** Sends a frame that other nodes' engines hear when the switches carry the VLAN to them. */
  sendProbe(nodeName: string, vlan: number): void
  /** Milliseconds since a probe of another node was heard on a VLAN; undefined: never. */
  probeHeard(nodeName: string, vlan: number): number | undefined
  /** Asks the L2 network whether somebody else has an address of an endpoint; who answers shows in `foreignUses`. */
  probeAddresses(endpointId: string): void
  /** Hosts on the wire that were heard to use an address or the MAC of an attached endpoint. */
  foreignUses(): ForeignUse[]
  /** The kernel's part of the receive guarantee; absent where an engine has none. */
  readonly receiving?: ReceiveControl
  /** Completes removals in the background; programs, maps and attached endpoints stay. */
  stop(): Promise<void>
}
