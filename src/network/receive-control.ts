/** A receiver as frames name it. */
export interface ReceiverAddress {
  macAddress: string
  /** 0 is untagged. */
  vlan: number
}

/** What arrived from one source for one endpoint of this node, since counting began. */
export interface Arrival {
  /** MAC of the source; one of this node's own endpoints for traffic that stays on the node. */
  sourceMac: string
  vlan: number
  /** The receiver's place in the datapath; a later endpoint may have the same, and the count goes on. */
  slot: number
  /** Undefined for what is for no endpoint or for many: the node's own traffic, broadcast. */
  endpointId: string | undefined
  /** Bytes of frames. */
  bytes: number
  /** Bytes on the wire: with preamble, gap, checksum and tag. */
  wireBytes: number
}

/** What became of the frames of this node to a receiver, in bytes since the limit was first set. */
export interface LimitUse {
  passedBytes: number
  droppedBytes: number
}

/** The kernel's part of the receive guarantee: counting by source on the receiving node, limits on the sending one. */
export interface ReceiveControl {
  /** Bytes on the wire that all endpoints of this node together have received, whoever sent them. */
  receivedBytes(): number
  /** Counts what arrives from now on, or no longer; frames pay for it only meanwhile. */
  countArrivals(isWanted: boolean): void
  /** All that is counted; sources that were not heard for long may be missing. */
  arrivals(): Arrival[]
  /** Counts no longer what came from these sources; when they are heard again they begin at zero. */
  forgetArrivals(arrivals: Arrival[]): void
  /** Limits what endpoints of this node send to a receiver (bits per second of frames), for so many milliseconds. */
  limit(receiver: ReceiverAddress, rate: number, milliseconds: number): Promise<void>
  /** Ends a limit; nothing happens when there is none. */
  lift(receiver: ReceiverAddress): Promise<void>
  /** Use of a limit; undefined when there is none. */
  use(receiver: ReceiverAddress): LimitUse | undefined
  /** Removes limits that have ended, those of an earlier agent included; returns those that are in force. */
  sweep(): Promise<ReceiverAddress[]>
}
