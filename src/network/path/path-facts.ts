import type { DropReason, EngineProblem } from '../engine.ts'

/** An interface inside a container, as it is now. */
export interface InterfaceFacts {
  isUp: boolean
  macAddress: string
  mtu: number
  addresses: string[]
}

/** How the container's kernel would send a packet: straight to the receiver or by way of a gateway. */
export type RouteFacts = { device: string; gateway?: string; source: string } | { problem: string }

/** What the agent of an endpoint's node knows of the way of a packet from or to it. */
export interface PathFacts {
  /** As control gave it. */
  expected: { interfaceName: string; macAddress: string; addresses: string[]; vlan: number }
  /** Absent when the interface or its namespace is gone. */
  found?: InterfaceFacts
  /** What is not as the engine made it. */
  problems: EngineProblem[]
  /** Where it was asked for. */
  route?: RouteFacts
  uplink: { interface: string; carrier: boolean; mtu: number }
  /**
   * Milliseconds since the other node was last heard on the endpoint's VLAN, null: never; absent when it was not asked for
   * or the VLAN is not probed (untagged).
   */
  heardFromPeer?: number | null
  counters: { sentPackets: number; receivedPackets: number; drops: Partial<Record<DropReason, number>> }
}

/** What came of real frames that were sent from a container's interface. */
export interface PathProbe {
  /** Who answered for the next hop (the receiver itself, or the gateway) by ARP or neighbour discovery. */
  nextHopMac?: string
  /** Milliseconds until the receiver answered an echo request; absent: it did not. */
  echoAfter?: number
  /** Frames of the endpoint that its node dropped meanwhile, by reason. */
  dropped: Partial<Record<DropReason, number>>
}
