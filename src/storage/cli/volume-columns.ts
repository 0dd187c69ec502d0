import type { Plex, Volume, VolumeAttachment } from '../../api/index.ts'
import { formatQuantity, parseQuantity } from '../../api/index.ts'
import { formatAttainment, formatSpace } from '../../guarantee/index.ts'
import { formatAge, formatLabels, renderFields, renderTable, type Column } from '../../verb/index.ts'
import { reclaimableCell, spaceCell } from './cells.ts'
import type { LiveVolume } from '../live-volume.ts'
import type { VolumeReport } from './live-volumes.ts'

/** A volume with who uses it. */
export interface VolumeRow {
  volume: Volume
  attachment?: VolumeAttachment
  /** What the agent of its node tells, where it was asked and the volume is in use there. */
  report?: VolumeReport
}

/** Columns of `volume list` and `volume get`, as published. */
export function volumeColumns(now: Date): Column<VolumeRow>[] {
  return [
    { header: 'NAME', value: ({ volume }) => volume.metadata.name },
    { header: 'SIZE', value: ({ volume }) => sizeOf(volume) },
    { header: 'NODE', value: ({ volume }) => volume.status?.plexes.map(({ nodeName }) => nodeName).join(',') },
    { header: 'LABELS', value: ({ volume }) => formatLabels(volume.metadata.labels) },
    { header: 'PHASE', value: ({ volume }) => volume.status?.phase ?? 'Pending' },
    { header: 'ATTACH-STATUS', value: ({ attachment }) => (attachment ? 'Busy' : 'Available') },
    { header: 'ATTACHED-TO', value: ({ attachment }) => attachment?.spec.nodeName },
    { header: 'DEVICE-PATH', value: ({ attachment }) => attachment?.status?.devicePath },
    { header: 'AGE', value: ({ volume }) => formatAge(volume.metadata.creationTimestamp, now) },
    { header: 'PERF-TIER', value: ({ volume }) => volume.status?.perfTierName, wide: true },
    { header: 'IOPS', value: ({ volume }) => volume.status?.iopsFloor, wide: true },
    { header: 'DELIVERED', value: ({ report }) => report && formatQuantity(report.live.iops), wide: true },
    {
      header: 'ATTAINMENT',
      value: ({ report }) => report?.live.lastHour && formatAttainment(report.live.lastHour),
      wide: true,
    },
    { header: 'FS', value: ({ volume }) => volume.spec.filesystem ?? 'block', wide: true },
    { header: 'OWN', value: ({ volume }) => volume.status?.usage && spaceCell(volume.status.usage.own), wide: true },
    {
      header: 'SHARED',
      value: ({ volume }) => volume.status?.usage && spaceCell(volume.status.usage.shared),
      wide: true,
    },
    { header: 'RECLAIMABLE', value: ({ volume }) => reclaimableCell(volume.status?.usage), wide: true },
    { header: 'MESSAGE', value: ({ volume }) => volume.status?.message, wide: true },
  ]
}

function sizeOf({ spec, status }: Volume): string {
  return spaceCell(status?.size ?? parseQuantity(spec.size))
}

const plexColumns = (now: Date): Column<Plex>[] => [
  { header: 'NAME', value: ({ metadata }) => metadata.name },
  { header: 'NODES', value: ({ spec }) => spec.nodeName },
  {
    header: 'STATE',
    value: ({ status }) => (status?.state === 'Up' ? 'Up' : status?.state === 'Detached' ? 'Detached' : 'Down'),
  },
  { header: 'CONDITION', value: ({ status }) => conditionOf(status) },
  {
    header: 'OUT-OF-SYNC-AGE',
    value: (plex) => (plex.status?.state === 'Up' ? undefined : formatAge(plex.metadata.creationTimestamp, now)),
  },
  {
    header: 'RESYNC-PROGRESS',
    value: ({ status }) => (isCopying(status) ? `${Math.floor(status!.progress! * 100)}%` : undefined),
  },
  { header: 'DELETE-PROGRESS', value: ({ metadata }) => (metadata.deletionTimestamp ? 'deleting' : undefined) },
]

function conditionOf(status: Plex['status']): string {
  if (isCopying(status)) return 'Syncing'
  return status?.state === 'Up' ? 'InSync' : 'OutOfSync'
}

function isCopying(status: Plex['status']): boolean {
  return status?.progress !== undefined && status.progress < 1
}

/** The text of `volume describe`. */
export function describeVolume(row: VolumeRow, plexes: Plex[], snapshots: string[], now: Date): string {
  const { volume, attachment } = row
  const { metadata, spec, status } = volume
  const floor = status?.iopsFloor
  const reclaimable = reclaimableCell(status?.usage)
  const fields: [string, string | number | undefined][] = [
    ['Name', metadata.name],
    ['Labels', formatLabels(metadata.labels)],
    ['Phase', status?.phase ?? 'Pending'],
    ['Message', status?.message],
    ['Remedy', status?.remedy],
    ['Size', sizeOf(volume)],
    ['Content', spec.filesystem ?? 'raw block device'],
    [
      'Source',
      spec.source &&
        ('snapshotName' in spec.source ? `snapshot ${spec.source.snapshotName}` : `volume ${spec.source.volumeName}`),
    ],
    ['Tier', status?.perfTierName],
    ['Promised', floor === undefined ? undefined : floor === 0 ? 'best effort' : `${formatQuantity(floor)} IOPS`],
    ['Cap', status?.iopsCap === undefined ? 'none' : `${formatQuantity(status.iopsCap)} IOPS`],
    ...guaranteeFields(row.report, now),
    ['Space of its own', status?.usage && formatSpace(status.usage.own)],
    ['Space shared', status?.usage && `${formatSpace(status.usage.shared)} with snapshots and clones`],
    ['Reclaimable', reclaimable && `${reclaimable} come back when it is deleted`],
    ['Snapshots', snapshots.join(', ')],
    ['Attached to', attachment?.spec.nodeName],
    ['Device', attachment?.status?.devicePath],
    ['Used at', attachment?.status?.publishedPaths.join(', ')],
    ['Age', formatAge(metadata.creationTimestamp, now)],
  ]
  const competitors = row.report ? competitorsOf(row.report) : ''
  return `${renderFields(fields)}${competitors}\n\nPLEXES\n${renderTable(plexColumns(now), plexes, { wide: false })}`
}

/** What of the promise is kept, where the volume is in use. */
function guaranteeFields(report: VolumeReport | undefined, now: Date): [string, string | undefined][] {
  if (!report) return []
  const { live, drive } = report
  const { lastHour, heldTo } = live
  const seconds = lastHour ? `${lastHour.attained} of ${lastHour.withDemand} seconds with demand` : ''
  return [
    ['Delivered', `${formatQuantity(live.iops)} IOPS, ${formatSpace(live.bytes)}/s in the last second`],
    ['Attainment', lastHour && `${formatAttainment(lastHour)} (${seconds}, last ${formatAge(lastHour.since, now)})`],
    ['Held to', heldTo === undefined ? undefined : `${formatQuantity(heldTo)} IOPS now, for the floor of another volume`],
    ['Drive', drive && `${drive.name}: ${formatQuantity(drive.delivered)} of ${formatQuantity(drive.calibrated ?? 0)} IOPS`],
  ] // prettier-ignore
}

const competitorColumns: Column<LiveVolume>[] = [
  { header: 'VOLUME', value: ({ name }) => name },
  { header: 'PROMISED', value: ({ iopsFloor }) => (iopsFloor === 0 ? 'best effort' : formatQuantity(iopsFloor)) },
  { header: 'DELIVERED', value: ({ iops }) => formatQuantity(iops) },
  { header: 'HELD-TO', value: ({ heldTo }) => heldTo && formatQuantity(heldTo) },
]

function competitorsOf({ competitors }: VolumeReport): string {
  if (competitors.length === 0) return ''
  return `\n\nCOMPETES WITH\n${renderTable(competitorColumns, competitors, { wide: false })}`
}
