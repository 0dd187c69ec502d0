import { dropReasons, type DropReason, type EndpointCounters } from './engine.ts'

/** Counters of an endpoint that has not moved a byte. */
export function zeroCounters(endpointId: string): EndpointCounters {
  return {
    endpointId,
    sentBytes: 0,
    sentPackets: 0,
    receivedBytes: 0,
    receivedPackets: 0,
    drops: Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<DropReason, number>,
    deliveredBytes: 0,
    windows: { withDemand: 0, attained: 0 },
  }
}
