import { Counter, Gauge, Registry } from '@prometheus-io/client'
import { attainment } from '../guarantee/index.ts'
import type { LiveStorage, LiveVolume } from './live-volume.ts'

const labelNames = ['volume', 'drive'] as const
type Label = (typeof labelNames)[number]

type Figure = { name: string; help: string; value: (volume: LiveVolume) => number | undefined }

const gauges: Figure[] = [
  { name: 'promised_iops', help: 'Floor; 0 is best effort.', value: (volume) => volume.iopsFloor },
  { name: 'cap_iops', help: 'Operations per second that are never exceeded; absent without a cap.', value: (volume) => volume.iopsCap },
  { name: 'delivered_iops', help: 'Operations per second in the last second.', value: (volume) => volume.iops },
  { name: 'delivered_bytes_per_second', help: 'Bytes per second in the last second.', value: (volume) => volume.bytes },
  { name: 'held_to_iops', help: 'What it is held to for the floor of another volume; absent when it is not.', value: (volume) => volume.heldTo },
  {
    name: 'attainment_ratio',
    help: 'Share of windows with demand in which the floor was delivered; absent before the first such window.',
    value: ({ windows }) => windows && attainment(windows),
  },
] // prettier-ignore

const totals: Figure[] = [
  {
    name: 'windows_with_demand',
    help: 'One-second windows in which the volume asked for at least its floor.',
    value: ({ windows }) => windows?.withDemand,
  },
  {
    name: 'windows_attained',
    help: 'Windows with demand in which at least 95 % of the floor was delivered.',
    value: ({ windows }) => windows?.attained,
  },
]

/** Makes the metrics of all volumes with a device here, `carbonado_volume_*`; taken when somebody scrapes. */
export function createVolumeMetrics(read: () => LiveStorage): { metrics(): Promise<string> } {
  const registry = new Registry()
  const options = { labelNames, registers: [registry] }
  const made = [
    ...gauges.map(({ name, help, value }) => {
      const gauge = new Gauge<Label>({ name: `carbonado_volume_${name}`, help, ...options })
      return { value, put: (labels: Record<Label, string>, number: number) => gauge.set(labels, number) }
    }),
    ...totals.map(({ name, help, value }) => {
      const counter = new Counter<Label>({ name: `carbonado_volume_${name}_total`, help, ...options })
      return { value, put: (labels: Record<Label, string>, number: number) => counter.inc(labels, number) }
    }),
  ]
  return {
    metrics() {
      registry.resetMetrics()
      for (const volume of read().volumes) {
        for (const { value, put } of made) {
          const number = value(volume)
          if (number !== undefined) put({ volume: volume.name, drive: volume.driveName }, number)
        }
      }
      return registry.metrics()
    },
  }
}
