import { Counter, Gauge, Registry } from '@prometheus-io/client'
import type { Windows } from '../guarantee/index.ts'
import type { EndpointCounters } from './engine.ts'

/** One attached endpoint with its promise and its counters, as metrics and the live API show it. */
export interface EndpointReading {
  namespace: string
  name: string
  networkName: string
  /** Bits per second; 0 is best effort. */
  bandwidthFloor: number
  /** Bits per second; absent is no cap. */
  bandwidthCap?: number
  counters: EndpointCounters
  /** Windows of receiving; absent where nobody judges them. */
  receiveWindows?: Windows
}

const labelNames = ['namespace', 'endpoint', 'network'] as const
type Labels = Record<(typeof labelNames)[number], string>

type Totals = { name: string; help: string; value: (counters: EndpointCounters, receiving: Windows) => number }[]

const totals: Totals = [
  { name: 'sent_bytes', help: 'Bytes that the container sent.', value: (c) => c.sentBytes },
  { name: 'sent_packets', help: 'Packets that the container sent.', value: (c) => c.sentPackets },
  { name: 'received_bytes', help: 'Bytes that the container received.', value: (c) => c.receivedBytes },
  { name: 'received_packets', help: 'Packets that the container received.', value: (c) => c.receivedPackets },
  { name: 'delivered_bytes', help: 'Bytes that left by the uplink after shaping.', value: (c) => c.deliveredBytes },
  {
    name: 'windows_with_demand',
    help: 'One-second windows in which the container wanted to send at least its floor.',
    value: (c) => c.windows.withDemand,
  },
  {
    name: 'windows_attained',
    help: 'Windows with demand in which at least 95 % of the floor was delivered.',
    value: (c) => c.windows.attained,
  },
  {
    name: 'receive_windows_with_demand',
    help: 'One-second windows in which the container received its floor, or was kept from receiving more.',
    value: (_c, receiving) => receiving.withDemand,
  },
  {
    name: 'receive_windows_attained',
    help: 'Windows of receiving with demand in which at least 95 % of the floor arrived.',
    value: (_c, receiving) => receiving.attained,
  },
]

const noWindows: Windows = { withDemand: 0, attained: 0 }

/** What was found changed by hand in the datapath. */
export interface DriftReading {
  /** How often something was repaired, by reason. */
  repaired(): ReadonlyMap<string, number>
  /** What is there now and was not. */
  problems(): unknown[]
}

/** Metrics in Prometheus' text format. */
export interface MetricsText {
  contentType: string
  /** Takes readings and writes them out. */
  metrics(): Promise<string>
}

/**
 * Makes the metrics of all endpoints, `carbonado_endpoint_*` with the labels namespace, endpoint and network, and of drift. The
 * readings are taken when somebody scrapes, never in between.
 */
export function createEndpointMetrics(read: () => EndpointReading[], drift: DriftReading): MetricsText {
  const registry = new Registry()
  const counters = totals.map(({ name, help, value }) => ({
    counter: new Counter({ name: `carbonado_endpoint_${name}_total`, help, labelNames, registers: [registry] }),
    value,
  }))
  const drops = new Counter({
    name: 'carbonado_endpoint_drops_total',
    help: 'Packets dropped, by reason.',
    labelNames: [...labelNames, 'reason'] as const,
    registers: [registry],
  })
  const gauges = createGauges(registry)
  const attached = new Gauge({
    name: 'carbonado_endpoints_attached',
    help: 'Endpoints attached on this node.',
    registers: [registry],
  })
  const fillDrift = createDriftMetrics(registry, drift)
  const fill = (): void => {
    const readings = read()
    registry.resetMetrics()
    fillDrift()
    attached.set(readings.length)
    for (const reading of readings) {
      const labels = labelsOf(reading)
      for (const { counter, value } of counters)
        counter.inc(labels, value(reading.counters, reading.receiveWindows ?? noWindows))
      for (const [reason, count] of Object.entries(reading.counters.drops)) drops.inc({ ...labels, reason }, count)
      setGauges(gauges, labels, reading)
    }
  }
  return {
    contentType: registry.contentType,
    metrics() {
      fill()
      return registry.metrics()
    },
  }
}

function createDriftMetrics(registry: Registry, drift: DriftReading): () => void {
  const repaired = new Counter({
    name: 'carbonado_drift_repaired_total',
    help: 'Parts of the datapath that were changed by hand and made right again, by reason.',
    labelNames: ['reason'],
    registers: [registry],
  })
  const lasting = new Gauge({
    name: 'carbonado_drift_unrepaired',
    help: 'Parts of the datapath that are not as they were made and cannot be repaired.',
    registers: [registry],
  })
  return () => {
    for (const [reason, count] of drift.repaired()) repaired.inc({ reason }, count)
    lasting.set(drift.problems().length)
  }
}

interface Gauges {
  promised: Gauge<keyof Labels>
  cap: Gauge<keyof Labels>
  attainment: Gauge<keyof Labels>
  receiveAttainment: Gauge<keyof Labels>
}

function createGauges(registry: Registry): Gauges {
  const make = (name: string, help: string): Gauge<keyof Labels> =>
    new Gauge({ name: `carbonado_endpoint_${name}`, help, labelNames, registers: [registry] })
  return {
    promised: make('promised_bits_per_second', 'Bandwidth floor, each direction; 0 is best effort.'),
    cap: make('cap_bits_per_second', 'Bandwidth that is never exceeded, each direction; absent without a cap.'),
    attainment: make(
      'attainment_ratio',
      'Share of windows with demand in which the floor was delivered; absent before the first such window.',
    ),
    receiveAttainment: make(
      'receive_attainment_ratio',
      'Share of windows of receiving with demand in which the floor arrived; absent before the first such window.',
    ),
  }
}

function setGauges(gauges: Gauges, labels: Labels, reading: EndpointReading): void {
  gauges.promised.set(labels, reading.bandwidthFloor)
  if (reading.bandwidthCap !== undefined) gauges.cap.set(labels, reading.bandwidthCap)
  const attainment = attainmentOf(reading.counters.windows)
  if (attainment !== undefined) gauges.attainment.set(labels, attainment)
  const receiveAttainment = attainmentOf(reading.receiveWindows ?? noWindows)
  if (receiveAttainment !== undefined) gauges.receiveAttainment.set(labels, receiveAttainment)
}

/** Share of windows with demand in which the floor was delivered, 0 to 1; undefined when none had demand. */
export function attainmentOf({ withDemand, attained }: EndpointCounters['windows']): number | undefined {
  return withDemand === 0 ? undefined : attained / withDemand
}

function labelsOf({ namespace, name, networkName }: EndpointReading): Labels {
  return { namespace, endpoint: name, network: networkName }
}
