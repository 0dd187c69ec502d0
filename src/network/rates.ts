import { regularly, type Logger, type Regular } from '../base/index.ts'
import { dropReasons, type DropReason, type EndpointCounters, type NetworkEngine } from './engine.ts'

/** Bits per second over the last second. */
export interface EndpointRates {
  sent: number
  received: number
  delivered: number
  /** Packets dropped per second, of the reasons for which there were any. */
  drops: Partial<Record<DropReason, number>>
}

/** What there is to say of an endpoint that has not been seen for a whole second. */
export const noRates: EndpointRates = { sent: 0, received: 0, delivered: 0, drops: {} }

/** Rates between two readings of the same endpoint that are `seconds` apart; counters that went back mean a new start. */
export function ratesBetween(before: EndpointCounters, after: EndpointCounters, seconds: number): EndpointRates {
  if (before === after) return noRates // it did nothing
  const rate = (key: 'sentBytes' | 'receivedBytes' | 'deliveredBytes'): number =>
    Math.max(0, Math.round(((after[key] - before[key]) * 8) / seconds))
  return {
    sent: rate('sentBytes'),
    received: rate('receivedBytes'),
    delivered: rate('deliveredBytes'),
    drops: dropsBetween(before, after, seconds),
  }
}

function dropsBetween(before: EndpointCounters, after: EndpointCounters, seconds: number): EndpointRates['drops'] {
  const rising = dropReasons.filter((reason) => after.drops[reason] > before.drops[reason])
  const rate = (reason: DropReason): number =>
    Math.max(1, Math.round((after.drops[reason] - before.drops[reason]) / seconds))
  return Object.fromEntries(rising.map((reason) => [reason, rate(reason)]))
}

/** Rates of all endpoints. */
export interface RateSampler {
  rates(endpointId: string): EndpointRates
  start(): void
  stop(): void
}

/**
 * Reads the counters every second, keeps the rates and passes the readings on; a reading costs far below a millisecond.
 */
export function createRateSampler(
  engine: Pick<NetworkEngine, 'counters'>,
  logger: Logger,
  onReading: (readings: EndpointCounters[]) => void = () => {},
  interval = 1_000,
): RateSampler {
  let before = new Map<string, EndpointCounters>()
  let readAt = 0
  let rates = new Map<string, EndpointRates>()
  let sampling: Regular | undefined
  const sample = (): void => {
    const now = performance.now()
    const seconds = (now - readAt) / 1000
    const readings = engine.counters()
    const lately = new Map<string, EndpointCounters>()
    rates = new Map()
    for (const reading of readings) {
      const known = before.get(reading.endpointId)
      if (known) rates.set(reading.endpointId, ratesBetween(known, reading, seconds))
      lately.set(reading.endpointId, reading)
    }
    before = lately
    readAt = now
    onReading(readings)
  }
  return {
    rates: (endpointId) => rates.get(endpointId) ?? noRates,
    start() {
      sampling ??= regularly(sample, interval, (err) => logger.error({ err }, 'the counters could not be read'))
    },
    stop: () => void sampling?.stop(),
  }
}
