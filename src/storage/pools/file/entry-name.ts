import type { PoolEntry, SectorSize } from '../../pool-format.ts'

/** What the name of an entry's folder tells; its size is that of its file. */
export interface NamedEntry extends Omit<PoolEntry, 'size'> {
  sectorSize: SectorSize
}

const pattern = /^([A-Za-z0-9-]{1,64})\.(volume|snapshot)\.(512|4096)(?:\.([A-Za-z0-9-]{1,64}))?$/

/** The name of an entry's folder: everything about it, so that a rename alone makes it exist, whole or not at all. */
export function entryName({ id, kind, sectorSize, sourceId }: NamedEntry): string {
  return [id, kind, sectorSize, ...(sourceId === undefined ? [] : [sourceId])].join('.')
}

/** Reads such a name; undefined for any other, such as that of an entry in the making. */
export function parseEntryName(name: string): NamedEntry | undefined {
  const [, id, kind, sectorSize, sourceId] = pattern.exec(name) ?? []
  if (id === undefined) return undefined
  return {
    id,
    kind: kind as PoolEntry['kind'],
    sectorSize: Number(sectorSize) as SectorSize,
    ...(sourceId === undefined ? {} : { sourceId }),
  }
}
