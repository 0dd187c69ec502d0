import { Drive, Node, PerfTier, Plex, Volume } from '../../api/index.ts'
import { describeShortfall, fit, iopsRates, nothing, remedyFor } from '../../guarantee/index.ts'
import { Exhausted } from '../../base/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { driveTotals } from '../controllers/drive-space.ts'

/** Refuses to raise a floor of IOPS above what the drives of the volumes that use the tier can give. */
export function admitTierUpdate(tier: PerfTier, existing: PerfTier, reader: SyncReader): void {
  if (tier.metadata.deletionTimestamp) return
  const { iopsFloor } = iopsRates(tier)
  if (iopsFloor <= iopsRates(existing).iopsFloor) return
  const users = new Set(volumesOfTier(tier, reader))
  const drives = new Map<string, { users: number; promised: number }>()
  for (const { spec } of reader.list(Plex)) {
    const entry = drives.get(spec.driveName) ?? { users: 0, promised: 0 }
    drives.set(spec.driveName, entry)
    if (users.has(spec.volumeName)) entry.users += 1
    else entry.promised += spec.iopsFloor
  }
  for (const [name, { users: count, promised }] of drives) {
    const drive = count > 0 ? reader.get(Drive, { name }) : undefined
    if (!drive) continue
    const ask = { ...nothing, iops: count * iopsFloor }
    const result = fit(ask, { total: driveTotals(drive), promised: { ...nothing, iops: promised } })
    if (result.fits) continue
    const text = result.shortfalls.map((each) => describeShortfall(each, `drive ${name}`)).join('; ')
    throw new Exhausted(`perf-tier ${tier.metadata.name} is in use by ${count} volumes there and ${text}`, {
      remedy: remedyFor(result.shortfalls),
    })
  }
}

/** Refuses to delete a tier that volumes name. */
export function admitTierDelete(tier: PerfTier, reader: SyncReader): void {
  const volumes = volumesOfTier(tier, reader)
  if (volumes.length === 0) return
  throw inUse(
    `perf-tier ${tier.metadata.name}`,
    'volume',
    volumes,
    'Give them another tier first with `dctl volume update NAME -p TIER`.',
  )
}

/** Refuses to delete a node that has drives with volumes. */
export function admitNodeDelete({ metadata: { name } }: Node, reader: SyncReader): void {
  const volumes = reader.list(Plex, { fieldSelector: `spec.nodeName=${name}` }).map(({ spec }) => spec.volumeName)
  if (volumes.length > 0) throw inUse(`node ${name}`, 'volume', volumes, 'Delete them first.')
}

function volumesOfTier({ metadata: { name } }: PerfTier, reader: SyncReader): string[] {
  return reader
    .list(Volume)
    .filter(({ spec, status }) => spec.perfTierName === name || status?.perfTierName === name)
    .map(({ metadata }) => metadata.name)
}
