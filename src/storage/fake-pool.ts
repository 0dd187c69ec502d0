import { Conflict, Exhausted, NotFound } from '../base/index.ts'
import type { EntryUsage, Pool, PoolEntry, PoolFormat, PoolSpace } from './pool-format.ts'

/** Bytes that are shared or not as a whole. */
export const fakeBlockSize = 2 ** 16

/** A block that is written: entries that hold the same object share it. */
type Block = { text: string }

interface FakeEntry extends PoolEntry {
  blocks: Map<number, Block>
}

/** What a fake pool has where a real one has it on the drive: it outlives the pool object. */
export interface FakeDrive {
  /** Bytes. */
  capacity: number
  pool?: { id: string; entries: Map<string, FakeEntry> }
  active: Map<string, { readOnly: boolean }>
}

/** Makes an empty fake drive. */
export function createFakeDrive(capacity: number): FakeDrive {
  return { capacity, active: new Map() }
}

/**
 * A pool in memory, for tests of what stands above the interface. It shares blocks between snapshots and clones as the
 * real formats do and counts them honestly, but has no devices: `write` and `read` stand for what their users would do.
 */
export class FakePool implements Pool {
  readonly id: string
  readonly format = 'file'
  readonly sectorSize = 512
  readonly #drive: FakeDrive

  constructor(drive: FakeDrive) {
    if (!drive.pool) throw new NotFound('the drive has no pool')
    this.id = drive.pool.id
    this.#drive = drive
  }

  async list(): Promise<PoolEntry[]> {
    return [...this.#entries.values()].map(({ blocks: _, ...entry }) => ({ ...entry }))
  }

  async space(): Promise<PoolSpace> {
    return { capacity: this.#drive.capacity, used: this.#used() }
  }

  async usages(): Promise<Map<string, EntryUsage>> {
    const holders = new Map<Block, number>()
    for (const entry of this.#entries.values()) {
      for (const block of entry.blocks.values()) holders.set(block, (holders.get(block) ?? 0) + 1)
    }
    const usageOf = ({ blocks }: FakeEntry): EntryUsage => {
      const own = [...blocks.values()].filter((block) => holders.get(block) === 1).length * fakeBlockSize
      return { own, shared: blocks.size * fakeBlockSize - own, reclaimable: own }
    }
    return new Map([...this.#entries.values()].map((entry) => [entry.id, usageOf(entry)]))
  }

  async create({ id, size }: { id: string; size: number }): Promise<void> {
    if (!this.#entries.has(id)) this.#entries.set(id, { id, kind: 'volume', size, blocks: new Map() })
  }

  async clone({ id, size, sourceId }: { id: string; size: number; sourceId: string }): Promise<void> {
    const source = this.#entry(sourceId)
    if (this.#entries.has(id)) return
    this.#entries.set(id, { id, kind: 'volume', size, sourceId, blocks: new Map(source.blocks) })
  }

  async snapshot(snapshots: { id: string; volumeId: string }[]): Promise<void> {
    const sources = snapshots.map(({ id, volumeId }) => ({ id, volume: this.#entry(volumeId) }))
    for (const { id, volume } of sources) {
      if (this.#entries.has(id)) continue
      const { size, id: sourceId } = volume
      this.#entries.set(id, { id, kind: 'snapshot', size, sourceId, blocks: new Map(volume.blocks) })
    }
  }

  async resize(id: string, size: number): Promise<void> {
    const entry = this.#entry(id)
    if (size < entry.size) throw new Conflict(`${id} cannot shrink from ${entry.size} to ${size}`)
    entry.size = size
  }

  async restore(id: string, snapshotId: string): Promise<void> {
    if (this.#drive.active.has(id)) throw new Conflict(`${id} is active`)
    this.#entry(id).blocks = new Map(this.#entry(snapshotId).blocks)
  }

  async delete(id: string): Promise<void> {
    if (this.#drive.active.has(id)) throw new Conflict(`${id} is active`)
    this.#entries.delete(id)
  }

  async activate(id: string, options: { readOnly: boolean }): Promise<{ devicePath: string }> {
    this.#entry(id)
    if (!this.#drive.active.has(id)) this.#drive.active.set(id, { ...options })
    return { devicePath: `/fake/${id}` }
  }

  async deactivate(id: string): Promise<void> {
    this.#drive.active.delete(id)
  }

  async active(): Promise<{ id: string; devicePath: string }[]> {
    return [...this.#drive.active.keys()].map((id) => ({ id, devicePath: `/fake/${id}` }))
  }

  async close(): Promise<void> {}

  /** Writes one block of an active volume. Throws Exhausted when the drive is full. */
  write(id: string, block: number, text: string): void {
    const entry = this.#entry(id)
    if ((block + 1) * fakeBlockSize > entry.size) throw new Conflict(`block ${block} lies beyond the end of ${id}`)
    const before = entry.blocks.get(block)
    entry.blocks.set(block, { text })
    if (this.#used() <= this.#drive.capacity) return
    if (before) entry.blocks.set(block, before)
    else entry.blocks.delete(block)
    throw new Exhausted('the drive is full')
  }

  /** Reads one block; undefined where nothing was written. */
  read(id: string, block: number): string | undefined {
    return this.#entry(id).blocks.get(block)?.text
  }

  get #entries(): Map<string, FakeEntry> {
    return this.#drive.pool!.entries
  }

  #entry(id: string): FakeEntry {
    const entry = this.#entries.get(id)
    if (!entry) throw new NotFound(`the pool has no ${id}`)
    return entry
  }

  #used(): number {
    return new Set([...this.#entries.values()].flatMap(({ blocks }) => [...blocks.values()])).size * fakeBlockSize
  }
}

/** The format of fake pools, over drives by their device paths. */
export class FakePoolFormat implements PoolFormat {
  readonly name = 'file'
  readonly #drives: Map<string, FakeDrive>

  constructor(drives: Map<string, FakeDrive>) {
    this.#drives = drives
  }

  async unsupportedReason(): Promise<undefined> {
    return undefined
  }

  async probe(device: string): Promise<string | undefined> {
    return this.#drives.get(device)?.pool?.id
  }

  async format(device: string, { id }: { id: string }): Promise<void> {
    const drive = this.#drives.get(device)
    if (!drive) throw new NotFound(`there is no drive ${device}`)
    drive.pool = { id, entries: new Map() }
  }

  async open(device: string): Promise<FakePool> {
    const drive = this.#drives.get(device)
    if (!drive) throw new NotFound(`there is no drive ${device}`)
    return new FakePool(drive)
  }
}
