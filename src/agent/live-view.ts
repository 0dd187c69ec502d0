import type { JournalRecord } from '../network/attachments/index.ts'
import type { EndpointCounters } from '../network/engine.ts'
import { zeroCounters } from '../network/counters.ts'
import type { LiveEndpoint } from '../network/live-endpoint.ts'
import type { EndpointReading } from '../network/metrics.ts'
import type { RateSampler } from '../network/rates.ts'

/** Joins what is attached with its counters, for metrics. */
export function readEndpoints(attached: JournalRecord[], counters: EndpointCounters[]): EndpointReading[] {
  const byId = new Map(counters.map((reading) => [reading.endpointId, reading]))
  return attached.map(({ endpointId, namespace, name, networkName, request }) => ({
    namespace,
    name,
    networkName,
    bandwidthFloor: request.bandwidthFloor,
    bandwidthCap: request.bandwidthCap,
    counters: byId.get(endpointId) ?? zeroCounters(endpointId),
  }))
}

/** Joins what is attached with its counters and rates, for the live API. */
export function liveEndpoints(
  attached: JournalRecord[],
  counters: EndpointCounters[],
  rates: Pick<RateSampler, 'rates'>,
): LiveEndpoint[] {
  const readings = readEndpoints(attached, counters)
  return attached.map(({ endpointId, namespace, name, containerId, interfaceName, request }, index) => {
    const { bandwidthFloor, bandwidthCap } = request
    return {
      ...readings[index]!.counters,
      namespace,
      name,
      endpointId,
      containerId,
      interfaceName,
      bandwidthFloor,
      ...(bandwidthCap === undefined ? {} : { bandwidthCap }),
      rates: rates.rates(endpointId),
    }
  })
}
