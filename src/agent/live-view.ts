import { readFileSync } from 'node:fs'
import type { JournalRecord } from '../network/attachments/index.ts'
import type { EndpointCounters } from '../network/engine.ts'
import { zeroCounters } from '../network/counters.ts'
import type { LiveEndpoint } from '../network/live-endpoint.ts'
import type { EndpointReading } from '../network/metrics.ts'
import type { RateSampler } from '../network/rates.ts'
import type { AttainmentMemory, RememberedWindows } from './attainment-memory.ts'

/** Joins what is attached with its counters, for metrics. */
export function readEndpoints(
  attached: JournalRecord[],
  counters: EndpointCounters[],
  memory: Pick<AttainmentMemory, 'received'>,
): EndpointReading[] {
  const byId = new Map(counters.map((reading) => [reading.endpointId, reading]))
  return attached.map(({ endpointId, namespace, name, networkName, request }) => ({
    namespace,
    name,
    networkName,
    bandwidthFloor: request.bandwidthFloor,
    bandwidthCap: request.bandwidthCap,
    counters: byId.get(endpointId) ?? zeroCounters(endpointId),
    receiveWindows: memory.received(endpointId),
  }))
}

/** Joins what is attached with its counters and rates, for the live API. */
export function liveEndpoints(
  attached: JournalRecord[],
  counters: EndpointCounters[],
  rates: Pick<RateSampler, 'rates'>,
  memory: Pick<AttainmentMemory, 'sending' | 'receiving' | 'received'>,
): LiveEndpoint[] {
  const readings = readEndpoints(attached, counters, memory)
  return attached.map(({ endpointId, namespace, name, containerId, interfaceName, hostInterface, request }, index) => {
    const { bandwidthFloor, bandwidthCap } = request
    const delivered = rates.rates(endpointId).received
    const windows = memory.received(endpointId)
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
      ...(bandwidthFloor > 0
        ? { receive: { promised: bandwidthFloor, delivered, windows, ...recentOf(memory.receiving(endpointId)) } }
        : {}),
      ...recentOf(memory.sending(endpointId)),
      isLinkUp: hostInterface !== undefined && hasCarrier(hostInterface),
    }
  })
}

function recentOf({ lastHour, lastSeconds }: RememberedWindows): Pick<LiveEndpoint, 'lastHour' | 'lastSeconds'> {
  return {
    ...(lastHour && { lastHour: { ...lastHour, since: new Date(lastHour.since).toISOString() } }),
    ...(lastSeconds && { lastSeconds: { withDemand: lastSeconds.withDemand, attained: lastSeconds.attained } }),
  }
}

/** A veth has a carrier when both of its ends are up; one that is down itself cannot even be asked. */
function hasCarrier(device: string): boolean {
  try {
    return readFileSync(`/sys/class/net/${device}/carrier`, 'utf8').trim() === '1'
  } catch {
    return false
  }
}
