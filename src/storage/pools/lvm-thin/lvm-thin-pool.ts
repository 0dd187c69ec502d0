import { Conflict, Exhausted, InvalidInput, KeyedLock, NotFound } from '../../../base/index.ts'
import type { EntryUsage, Pool, PoolEntry, PoolSpace, SectorSize } from '../../pool-format.ts'
import { checkSectorSize, isReadOnly, sectorSizeOf } from '../../device-number.ts'
import { checkEntryId, checkSize } from '../entry-id.ts'
import { committedTag, entryTags, groupTag, makingTag, readRecord, recordFields, recordName, sortRecords, type EntryRecord } from './entry-record.ts' // prettier-ignore
import { lvm, lvmReport } from './lvm.ts'
import { poolVolume, ThinPoolDevice } from './thin-pool-device.ts'
import { TopDevice } from './top-device.ts'

/**
 * Share of the pool's metadata in use from which on nothing new is made: a pool whose metadata is full is read-only. lvm
 * itself refuses from there on.
 */
const mostMetadata = 0.75
/** Share in use from which on the metadata is given all room that there is for it. */
const growMetadataAbove = 0.7

/**
 * A pool whose volumes are thin logical volumes of a volume group on the drive.
 *
 * **Crashes.** Every command of lvm changes its metadata whole or not at all. What takes several is marked by a tag from
 * the first to the last of them, and `list` does not show what has such a tag; `open` removes it. A restored volume is a
 * new logical volume of the next generation, which counts from the moment it loses that tag.
 */
export class LvmThinPool implements Pool {
  readonly id: string
  readonly format = 'lvm-thin'
  readonly sectorSize: SectorSize
  readonly #device: string
  readonly #group: string
  readonly #thinPool: ThinPoolDevice
  readonly #lock = new KeyedLock()

  private constructor(id: string, device: string, group: string) {
    this.id = id
    this.sectorSize = sectorSizeOf(device)
    this.#device = device
    this.#group = group
    this.#thinPool = new ThinPoolDevice(group)
  }

  /** Opens the pool of an active volume group: lets go what a crash left suspended, completes and removes the rest. */
  static async open(id: string, device: string, group: string): Promise<LvmThinPool> {
    const pool = new LvmThinPool(id, device, group)
    await pool.#repair()
    return pool
  }

  async #repair(): Promise<void> {
    const { entries, remains, tags } = await this.#read()
    for (const record of [...entries, ...remains]) await this.#settle(record)
    for (const record of entries.filter(({ group }) => group !== undefined)) await this.#leaveGroup(record)
    for (const { name } of remains) await this.#remove(name)
    for (const tag of tags.filter((each) => each.startsWith(committedTag('')))) await this.#run('vgchange', '--deltag', tag, this.#group) // prettier-ignore
  }

  /** Writers that were held go on; a volume whose device was not made yet is not active. */
  async #settle(record: EntryRecord): Promise<void> {
    const top = this.#top(record)
    if (!record.isActive) return
    if (!top.exists()) await this.#run('lvchange', '--activate', 'n', this.#path(record.name))
    else await top.grow(record.size)
  }

  async list(): Promise<PoolEntry[]> {
    return (await this.#read()).entries.map(({ id, kind, size, sourceId }) => {
      return { id, kind, size, ...(sourceId === undefined ? {} : { sourceId }) }
    })
  }

  async space(): Promise<PoolSpace> {
    const space = await this.#thinPool.space()
    const isTight = space.metadataUsed > growMetadataAbove
    return isTight && (await this.#growMetadata()) ? this.#thinPool.space() : space
  }

  /** False: it has all the room already. The spare for repairs grows with it. */
  async #growMetadata(): Promise<boolean> {
    const [row] = await lvmReport(this.#device, 'vgs', ['vg_free'], this.#group)
    const room = Math.floor(Number(row!.vg_free) / 2 / extentBytes) * extentBytes
    if (room === 0) return false
    await this.#run('lvextend', '--poolmetadatasize', `+${room}b`, this.#path(poolVolume))
    return true
  }

  async usages(): Promise<Map<string, EntryUsage>> {
    const { entries } = await this.#read()
    const byThinId = await this.#thinPool.usages()
    return new Map(entries.map(({ id, thinId }) => [id, byThinId.get(thinId) ?? { own: 0, shared: 0, reclaimable: 0 }]))
  }

  async create({ id, size, sectorSize }: { id: string; size: number; sectorSize: SectorSize }): Promise<void> {
    checkEntryId(id)
    checkSize(size, sectorSize)
    checkSectorSize(sectorSize, this.sectorSize)
    await this.#lock.run(id, async () => {
      const wanted = { id, kind: 'volume', sectorSize } as const
      const state = await this.#read()
      if (isThere(state, wanted, size)) return
      refuseFull(state)
      const options = ['--type', 'thin', '--virtualsize', `${size}b`, '--thinpool', poolVolume, ...newOptions(entryTags(wanted))]
      await this.#run('lvcreate', ...options, '--name', recordName(id, 0), this.#group)
    }) // prettier-ignore
  }

  async clone({ id, size, sourceId }: { id: string; size: number; sourceId: string }): Promise<void> {
    checkEntryId(id)
    await this.#lock.run(id, async () => {
      const state = await this.#read()
      const source = this.#entry(state, sourceId)
      checkSize(size, source.sectorSize)
      if (size < source.size) throw new InvalidInput(`a clone of ${sourceId} has at least its ${source.size} bytes, not ${size}`)
      const wanted = { id, kind: 'volume', sectorSize: source.sectorSize, sourceId } as const
      if (isThere(state, wanted, size)) return
      await this.#copy(state, source, recordName(id, 0), entryTags(wanted), size)
    }) // prettier-ignore
  }

  /** A copy of the content; in one step, or hidden until it has its size. */
  async #copy(state: PoolState, source: EntryRecord, name: string, tags: string[], size: number): Promise<void> {
    refuseFull(state)
    await this.#discard(state, name)
    const isOneStep = size <= source.size
    const options = newOptions(isOneStep ? tags : [...tags, makingTag])
    await this.#held([source], () => this.#run('lvcreate', '--snapshot', ...options, '--name', name, this.#path(source.name)))
    if (isOneStep) return
    await this.#grow({ name, size: source.size }, size)
    await this.#run('lvchange', '--deltag', makingTag, this.#path(name))
  } // prettier-ignore

  async snapshot(snapshots: { id: string; volumeId: string }[]): Promise<void> {
    snapshots.forEach(({ id }) => checkEntryId(id))
    const ids = snapshots.flatMap(({ id, volumeId }) => [id, volumeId])
    await this.#lockAll([...new Set(ids)].sort(), async () => {
      const state = await this.#read()
      const plans = snapshots.map((snapshot) => this.#plan(state, snapshot))
      const missing = plans.filter(({ exists }) => !exists)
      if (missing.length === 0) return
      if (missing.length < plans.length) {
        const there = plans.filter(({ exists }) => exists).map(({ id }) => id)
        throw new Conflict(`of the snapshots of one instant these exist already: ${there.join(', ')}`)
      }
      refuseFull(state)
      for (const { name } of missing) await this.#discard(state, name)
      await this.#takeSnapshots(missing)
    })
  }

  #plan(state: PoolState, { id, volumeId }: { id: string; volumeId: string }): SnapshotPlan {
    const source = this.#volume(state, volumeId)
    const wanted = { id, kind: 'snapshot', sectorSize: source.sectorSize, sourceId: volumeId } as const
    return { id, source, name: recordName(id, 0), tags: entryTags(wanted), exists: isThere(state, wanted, 0) }
  }

  /** All sources stand still from before the first to after their own: that is the one instant. */
  async #takeSnapshots(plans: SnapshotPlan[]): Promise<void> {
    const group = plans.length > 1 ? plans[0]!.id : undefined
    await this.#held(plans.map(({ source }) => source), async () => {
      for (const { source, name, tags } of plans) {
        const options = newOptions(group === undefined ? tags : [...tags, groupTag(group)])
        await this.#run('lvcreate', '--snapshot', ...options, '--name', name, this.#path(source.name))
      }
    }) // prettier-ignore
    if (group === undefined) return
    await this.#run('vgchange', '--addtag', committedTag(group), this.#group)
    for (const { name } of plans) await this.#leaveGroup({ name, group })
    await this.#run('vgchange', '--deltag', committedTag(group), this.#group)
  }

  /** Holds the writers of active volumes while a task runs. */
  async #held(sources: EntryRecord[], task: () => Promise<unknown>): Promise<void> {
    const tops = sources.filter(({ isActive }) => isActive).map((source) => this.#top(source))
    try {
      for (const top of tops) await top.hold()
      await task()
    } finally {
      for (const top of tops) await top.release()
    }
  }

  async #leaveGroup({ name, group }: { name: string; group?: string }): Promise<void> {
    await this.#run('lvchange', '--deltag', groupTag(group!), this.#path(name))
  }

  resize(id: string, size: number): Promise<void> {
    return this.#lock.run(id, async () => {
      const volume = this.#volume(await this.#read(), id)
      checkSize(size, volume.sectorSize)
      if (wholeExtents(size) < volume.size) throw new Conflict(`${id} cannot shrink from ${volume.size} to ${size} bytes`)
      await this.#grow(volume, size)
      if (volume.isActive) await this.#top(volume).grow(wholeExtents(Math.max(size, volume.size)))
    }) // prettier-ignore
  }

  /** lvm fails when that is the size already. */
  async #grow({ name, size: before }: { name: string; size: number }, size: number): Promise<void> {
    if (wholeExtents(size) > before) await this.#run('lvextend', '--size', `${size}b`, this.#path(name))
  }

  restore(id: string, snapshotId: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const state = await this.#read()
      const [volume, snapshot] = [this.#volume(state, id), this.#entry(state, snapshotId)]
      refuseActive(volume)
      refuseFull(state)
      const name = recordName(id, volume.generation + 1)
      await this.#discard(state, name)
      const options = newOptions([...entryTags(volume), makingTag])
      await this.#held([snapshot], () => this.#run('lvcreate', '--snapshot', ...options, '--name', name, this.#path(snapshot.name)))
      await this.#grow({ name, size: snapshot.size }, volume.size)
      await this.#run('lvchange', '--deltag', makingTag, this.#path(name))
      await this.#remove(volume.name)
    }) // prettier-ignore
  }

  delete(id: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const entry = find(await this.#read(), id)
      if (!entry) return
      refuseActive(entry)
      await this.#remove(entry.name)
    })
  }

  activate(id: string, { readOnly }: { readOnly: boolean }): Promise<{ devicePath: string }> {
    return this.#lock.run(id, async () => {
      const entry = this.#entry(await this.#read(), id)
      if (entry.kind === 'snapshot' && !readOnly) {
        throw new InvalidInput(`${id} is a snapshot: it can be activated for reading only`, { remedy: 'Clone it.' })
      }
      const top = this.#top(entry)
      if (!entry.isActive) {
        await this.#run('lvchange', '--activate', 'y', '--ignoreactivationskip', this.#path(entry.name))
      }
      if (!top.exists()) await top.make({ size: entry.size, readOnly })
      else if (isReadOnly(top.devicePath) !== readOnly) {
        throw new Conflict(`${id} is active for ${readOnly ? 'reading and writing' : 'reading only'}`)
      }
      return { devicePath: top.devicePath }
    })
  }

  deactivate(id: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const entry = find(await this.#read(), id)
      if (!entry?.isActive) return
      if (this.#top(entry).exists()) await this.#top(entry).remove()
      await this.#run('lvchange', '--activate', 'n', this.#path(entry.name))
    })
  }

  async active(): Promise<{ id: string; devicePath: string }[]> {
    const { entries } = await this.#read()
    const active = entries.filter(({ isActive }) => isActive)
    return active.map((entry) => ({ id: entry.id, devicePath: this.#top(entry).devicePath }))
  }

  /** The pool below stays while one of its volumes is active. */
  async close(): Promise<void> {
    if ((await this.active()).length === 0) await this.#run('vgchange', '--activate', 'n', this.#group)
  }

  /** Removes what an attempt before left under this name. */
  async #discard({ remains }: PoolState, name: string): Promise<void> {
    if (remains.some((record) => record.name === name)) await this.#remove(name)
  }

  async #remove(name: string): Promise<void> {
    await this.#run('lvremove', '--force', '--yes', this.#path(name))
  }

  async #read(): Promise<PoolState> {
    const rows = await lvmReport(this.#device, 'lvs', [...recordFields, 'metadata_percent', 'vg_tags'], this.#group)
    const tags = (rows[0]?.vg_tags ?? '').split(',')
    const records = rows.map(readRecord).filter((record) => record !== undefined)
    const pool = rows.find((row) => row.lv_name === poolVolume)
    return { tags, metadataUsed: Number(pool?.metadata_percent ?? 0) / 100, ...sortRecords(records, tags) }
  }

  #entry(state: PoolState, id: string): EntryRecord {
    const entry = find(state, id)
    if (!entry) throw new NotFound(`pool ${this.id} has no ${id}`)
    return entry
  }

  #volume(state: PoolState, id: string): EntryRecord {
    const entry = this.#entry(state, id)
    if (entry.kind !== 'volume') throw new InvalidInput(`${id} is a snapshot; its content and size stay as they are`)
    return entry
  }

  #lockAll(ids: string[], task: () => Promise<void>): Promise<void> {
    const [first, ...rest] = ids
    return first === undefined ? task() : this.#lock.run(first, () => this.#lockAll(rest, task))
  }

  #run(command: string, ...args: string[]): Promise<string> {
    return lvm(this.#device, command, ...args)
  }

  #path(name: string): string {
    return `${this.#group}/${name}`
  }

  #top({ name }: { name: string }): TopDevice {
    return new TopDevice(this.#group, name)
  }
}

/** What is in the pool, from one report of lvm. */
interface PoolState {
  entries: EntryRecord[]
  /** What a crash left half-made, or not removed. */
  remains: EntryRecord[]
  /** Tags of the volume group. */
  tags: string[]
  metadataUsed: number
}

/** A snapshot that is to be taken. */
interface SnapshotPlan {
  id: string
  source: EntryRecord
  name: string
  tags: string[]
  exists: boolean
}

/** Bytes of an extent: lvm rounds sizes up to whole ones. */
export const extentBytes = 2 ** 20

/** A new volume is inactive, and not marked as one that activation skips. */
function newOptions(tags: string[]): string[] {
  return ['--activate', 'n', '--setactivationskip', 'n', ...tags.flatMap((tag) => ['--addtag', tag])]
}

function refuseActive({ id, isActive }: EntryRecord): void {
  if (isActive) throw new Conflict(`${id} is active`, { remedy: 'Detach it first.' })
}

function find({ entries }: PoolState, id: string): EntryRecord | undefined {
  return entries.find((entry) => entry.id === id)
}

/** Whether an entry is there as wanted. Throws Conflict when it is there otherwise. */
function isThere(
  state: PoolState,
  wanted: Pick<EntryRecord, 'id' | 'kind' | 'sectorSize' | 'sourceId'>,
  size: number,
): boolean {
  const known = find(state, wanted.id)
  if (!known) return false
  const [is, should] = [entryTags(known).join(' '), entryTags(wanted).join(' ')]
  if (is === should && known.size >= size) return true
  throw new Conflict(`${wanted.id} exists as ${is} of ${known.size} bytes, not ${should} of ${size}`)
}

function refuseFull({ metadataUsed }: PoolState): void {
  if (metadataUsed <= mostMetadata) return
  const percent = Math.round(metadataUsed * 100)
  throw new Exhausted(
    `${percent} % of the pool's metadata are in use; nothing new is made above ${mostMetadata * 100} %`,
    {
      remedy: 'Delete snapshots or volumes, or use another drive.',
    },
  )
}

function wholeExtents(size: number): number {
  return Math.ceil(size / extentBytes) * extentBytes
}
