import type { Drive } from '../../api/index.ts'
import { formatAge, type Column } from '../../verb/index.ts'
import { slotOf } from '../plex-names.ts'
import { spaceCell } from './cells.ts'

/** What is promised of what there is, as in `1 GiB/3 GiB`. */
function share(
  part: { promised: number; total: number } | undefined,
  format: (value: number) => string,
): string | undefined {
  return part && `${format(part.promised)}/${format(part.total)}`
}

/** Columns of `drive list` and `drive get`. */
export function driveColumns(now: Date): Column<Drive>[] {
  return [
    { header: 'NAME', value: ({ metadata }) => metadata.name },
    { header: 'NODE', value: ({ spec }) => spec.nodeName },
    { header: 'SLOT', value: ({ spec }) => slotOf(spec.device) },
    { header: 'SIZE', value: ({ status }) => status?.agent && spaceCell(status.agent.size) },
    { header: 'STATE', value: ({ status }) => status?.agent?.state ?? 'Unknown' },
    { header: 'FORMAT', value: ({ status }) => status?.agent?.pool?.format },
    { header: 'USED', value: ({ status }) => status?.agent?.pool && spaceCell(status.agent.pool.used) },
    { header: 'SPACE', value: ({ status }) => share(status?.capacity?.space, spaceCell) },
    { header: 'IOPS', value: ({ status }) => share(status?.capacity?.iops, String) },
    { header: 'DEVICE', value: ({ spec }) => spec.device, wide: true },
    { header: 'MODEL', value: ({ status }) => status?.agent?.model, wide: true },
    { header: 'SERIAL', value: ({ status }) => status?.agent?.serial, wide: true },
    { header: 'READ-IOPS', value: ({ status }) => status?.agent?.calibration?.readIops, wide: true },
    { header: 'WRITE-IOPS', value: ({ status }) => status?.agent?.calibration?.writeIops, wide: true },
    { header: 'AGE', value: ({ metadata }) => formatAge(metadata.creationTimestamp, now), wide: true },
    { header: 'FOUND', value: ({ status }) => status?.agent?.found.join('; '), wide: true },
    { header: 'MESSAGE', value: ({ status }) => status?.agent?.message, wide: true },
  ]
}
