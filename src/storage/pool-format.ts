import type { PoolFormatName } from '../api/index.ts'

/** A volume or snapshot as the drive has it; found again after any restart. Sizes in bytes. */
export interface PoolEntry {
  /** uid of the Plex or Snapshot object. */
  id: string
  kind: 'volume' | 'snapshot'
  size: number
  /** What it was made from, while that is known. */
  sourceId?: string
}

/**
 * Bytes that an entry takes on the drive: `own` nobody else holds, `shared` others hold too. `reclaimable` come back when it
 * is deleted, which is more than `own` where the pool gives out space in larger pieces than those that are still in use.
 */
export interface EntryUsage {
  own: number
  shared: number
  reclaimable: number
}

/** Bytes of a pool, and the share of the format's own metadata space in use (0 to 1) where that has a limit. */
export interface PoolSpace {
  capacity: number
  used: number
  metadataUsed?: number
}

/** Bytes of a device's sector; fixed for the life of a volume. */
export type SectorSize = 512 | 4096

/**
 * An open pool on one drive. All operations are idempotent: repeated after a crash at any point they complete what was
 * begun. `list` tells from the drive alone what exists; half-made entries are not in it and go at the next `open`.
 * Errors: Exhausted when there is no room, NotFound for an unknown entry, Conflict when it is in use or exists otherwise.
 */
export interface Pool {
  readonly id: string
  readonly format: PoolFormatName
  /** That of the drive: the smallest that its volumes can have. */
  readonly sectorSize: SectorSize
  list(): Promise<PoolEntry[]>
  space(): Promise<PoolSpace>
  /** Bytes of every entry, read once for all of them; what goes meanwhile may be missing. */
  usages(): Promise<Map<string, EntryUsage>>
  create(volume: { id: string; size: number; sectorSize: SectorSize }): Promise<void>
  /** A volume with the content of a volume or snapshot of this pool; `size` at least that of the source. */
  clone(volume: { id: string; size: number; sourceId: string }): Promise<void>
  /** Snapshots of several volumes of this pool at one instant, all or none. Crash-consistent; stalls no writer for long. */
  snapshot(snapshots: { id: string; volumeId: string }[]): Promise<void>
  /** Grows a volume, active or not. */
  resize(id: string, size: number): Promise<void>
  /** Replaces the content of a volume that is not active by that of a snapshot, at once for whoever opens it later. */
  restore(id: string, snapshotId: string): Promise<void>
  /** Deletes a volume or snapshot, in any order; Conflict while it is active. */
  delete(id: string): Promise<void>
  /** Makes the block device of a volume, or of a snapshot when read-only; the same device when it is there already. */
  activate(id: string, options: { readOnly: boolean }): Promise<{ devicePath: string }>
  /** Removes the block device; Conflict while something holds it open. */
  deactivate(id: string): Promise<void>
  /** Devices that are there now. */
  active(): Promise<{ id: string; devicePath: string }[]>
  /** Lets go of the drive; devices in use stay. */
  close(): Promise<void>
}

/** A way to keep volumes on a drive. */
export interface PoolFormat {
  readonly name: PoolFormatName
  /** Why this node cannot use the format; undefined when it can. */
  unsupportedReason(): Promise<string | undefined>
  /** The id of the pool of this format on the device; undefined: there is none. Throws when that cannot be told now. */
  probe(device: string): Promise<string | undefined>
  /** Makes an empty pool; destroys what is on the device, so the caller has looked. Interrupted, it can be repeated. */
  format(device: string, pool: { id: string }): Promise<void>
  /** Opens the pool and removes what a crash left half-made. */
  open(device: string): Promise<Pool>
}
