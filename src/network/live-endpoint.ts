import type { Windows } from '../guarantee/index.ts'
import type { EndpointCounters } from './engine.ts'
import type { EndpointRates } from './rates.ts'
import type { HeldReceiver } from './receive-guarantee/index.ts'

/** What an agent tells at `/v1/endpoints` about one attached endpoint. Bandwidth and rates in bits per second. */
export interface LiveEndpoint extends EndpointCounters {
  namespace: string
  name: string
  containerId: string
  interfaceName: string
  bandwidthFloor: number
  bandwidthCap?: number
  /** Over the last second. */
  rates: EndpointRates
  /** Absent without a floor. */
  receive?: LiveReceiving
  /** Windows of sending in the last hour, and since when that is known (ISO 8601); absent when nothing is known yet. */
  lastHour?: Windows & { since: string }
  /** Windows of sending in the last ten seconds: whether there is demand now. */
  lastSeconds?: Windows
  /** Whether both ends of the interface are up. */
  isLinkUp: boolean
}

/** The promise of an endpoint for receiving: its floor, what arrives now, and windows, ever and lately. */
export interface LiveReceiving extends Pick<LiveEndpoint, 'lastHour' | 'lastSeconds'> {
  promised: number
  delivered: number
  windows: Windows
}

/** What an agent tells at `/v1/endpoints` about the uplink that its endpoints share; rates in bits per second. */
export interface LiveUplink {
  interface: string
  carrier: boolean
  /** Of the link, as configured or as the kernel reports. */
  rate: number
  /** Sum of the floors of what is attached. */
  promised: number
  /** Over the last second, everything on the device. */
  sent: number
  received: number
}

/** The answer at `/v1/endpoints`. */
export interface LiveNode {
  endpoints: LiveEndpoint[]
  uplink: LiveUplink
  /** Receivers that nodes with floors to keep hold this node back from. */
  held: HeldReceiver[]
}
