import { readFileSync } from 'node:fs'
import type { RecentWindows } from '../guarantee/index.ts'
import type { JournalRecord } from '../network/attachments/index.ts'
import type { EndpointCounters } from '../network/engine.ts'
import { zeroCounters } from '../network/counters.ts'
import type { LiveEndpoint } from '../network/live-endpoint.ts'
import type { EndpointReading } from '../network/metrics.ts'
import type { RateSampler } from '../network/rates.ts'
import type { ReceivePart } from './receive-part.ts'
import type { AttainmentMemory } from './attainment-memory.ts'

/** Joins what is attached with its counters, for metrics. */
export function readEndpoints(
  attached: JournalRecord[],
  counters: EndpointCounters[],
  receiving: Pick<ReceivePart, 'windowsOf'>,
): EndpointReading[] {
  const byId = new Map(counters.map((reading) => [reading.endpointId, reading]))
  return attached.map(({ endpointId, namespace, name, networkName, request }) => ({
    namespace,
    name,
    networkName,
    bandwidthFloor: request.bandwidthFloor,
    bandwidthCap: request.bandwidthCap,
    counters: byId.get(endpointId) ?? zeroCounters(endpointId),
    receiveWindows: receiving.windowsOf(endpointId),
  }))
}

/** Joins what is attached with its counters and rates, for the live API. */
export function liveEndpoints(
  attached: JournalRecord[],
  counters: EndpointCounters[],
  rates: Pick<RateSampler, 'rates'>,
  memory: Pick<AttainmentMemory, 'lastHour' | 'lastSeconds'>,
  receiving: Pick<ReceivePart, 'windowsOf'>,
): LiveEndpoint[] {
  const readings = readEndpoints(attached, counters, receiving)
  return attached.map(({ endpointId, namespace, name, containerId, interfaceName, hostInterface, request }, index) => {
    const { bandwidthFloor, bandwidthCap } = request
    const hour = memory.lastHour(endpointId)
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
      ...(bandwidthFloor > 0 ? { receive: receiveOf(readings[index]!, rates.rates(endpointId).received) } : {}),
      ...(hour ? { lastHour: { ...hour, since: new Date(hour.since).toISOString() } } : {}),
      ...windowsOnly(memory.lastSeconds(endpointId)),
      isLinkUp: hostInterface !== undefined && hasCarrier(hostInterface),
    }
  })
}

function receiveOf(reading: EndpointReading, delivered: number): LiveEndpoint['receive'] {
  return { promised: reading.bandwidthFloor, delivered, windows: reading.receiveWindows! }
}

function windowsOnly(recent: RecentWindows | undefined): Pick<LiveEndpoint, 'lastSeconds'> {
  if (!recent) return {}
  const { withDemand, attained } = recent
  return { lastSeconds: { withDemand, attained } }
}

/** A veth has a carrier when both of its ends are up; one that is down itself cannot even be asked. */
function hasCarrier(device: string): boolean {
  try {
    return readFileSync(`/sys/class/net/${device}/carrier`, 'utf8').trim() === '1'
  } catch {
    return false
  }
}
