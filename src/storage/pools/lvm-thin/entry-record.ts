import type { PoolEntry, SectorSize } from '../../pool-format.ts'

/** A logical volume of ours: an entry, or what is to become one or has been one. */
export interface EntryRecord extends PoolEntry {
  /** Name of the logical volume. */
  name: string
  sectorSize: SectorSize
  /** Counts the contents that a volume has had; the highest that is whole is the volume. */
  generation: number
  /** Half-made: it becomes an entry when this is taken from it. */
  isMaking: boolean
  /** Group whose members become entries together, when the volume group says so. */
  group?: string
  isActive: boolean
  thinId: number
}

/** Fields of lvs that a record is read from. */
export const recordFields = ['lv_name', 'lv_size', 'lv_tags', 'lv_active', 'thin_id']

const prefix = 'carbonado'
export const makingTag = `${prefix}.making`
export const groupTag = (group: string): string => `${prefix}.group.${group}`
/** On the volume group: the group's snapshots are all there. */
export const committedTag = (group: string): string => `${prefix}.committed.${group}`
/** On the volume group: its format is complete. */
export const readyTag = `${prefix}.ready`

/** The name of the logical volume with one content of an entry. */
export function recordName(id: string, generation: number): string {
  return `g${generation}.${id}`
}

/** What the tags say about an entry, for the one that is made in one step of lvm with it. */
export function entryTags(entry: Pick<EntryRecord, 'kind' | 'sectorSize' | 'sourceId'>): string[] {
  const { kind, sectorSize, sourceId } = entry
  return [`${prefix}.${kind}`, `${prefix}.sector.${sectorSize}`, ...(sourceId ? [`${prefix}.source.${sourceId}`] : [])]
}

/** Reads a row of lvs; undefined for a logical volume that is no entry, such as the pool itself. */
export function readRecord(row: Record<string, string>): EntryRecord | undefined {
  const [, generation, id] = /^g(\d+)\.(.+)$/.exec(row.lv_name ?? '') ?? []
  if (id === undefined) return undefined
  const tags = (row.lv_tags ?? '').split(',')
  const valueOf = (key: string): string | undefined => {
    return tags.find((tag) => tag.startsWith(`${prefix}.${key}.`))?.slice(prefix.length + key.length + 2)
  }
  const [sourceId, group] = [valueOf('source'), valueOf('group')]
  return {
    id,
    name: row.lv_name!,
    kind: tags.includes(`${prefix}.snapshot`) ? 'snapshot' : 'volume',
    size: Number(row.lv_size),
    sectorSize: Number(valueOf('sector')) as SectorSize,
    generation: Number(generation),
    isMaking: tags.includes(makingTag),
    isActive: row.lv_active === 'active',
    thinId: Number(row.thin_id),
    ...(sourceId === undefined ? {} : { sourceId }),
    ...(group === undefined ? {} : { group }),
  }
}

/** Splits what is in a volume group into the entries and what a crash left behind, from the tags of both. */
export function sortRecords(records: EntryRecord[], groupTags: string[]): { entries: EntryRecord[]; remains: EntryRecord[] } {
  const isWhole = ({ isMaking, group }: EntryRecord): boolean => {
    return !isMaking && (group === undefined || groupTags.includes(committedTag(group)))
  }
  const newest = new Map<string, EntryRecord>()
  for (const record of records.filter(isWhole)) {
    if ((newest.get(record.id)?.generation ?? -1) < record.generation) newest.set(record.id, record)
  }
  const entries = [...newest.values()]
  return { entries, remains: records.filter((record) => !entries.includes(record)) }
} // prettier-ignore
