import { existsSync, readFileSync } from 'node:fs'
import { Conflict, exec, Exhausted, InvalidInput, KeyedLock, NotFound } from '../../../base/index.ts'
import type { EntryUsage, Pool, PoolEntry, PoolSpace, SectorSize } from '../../pool-format.ts'
import { sysfsFolder } from './device-number.ts'
import { checkEntryId, checkSize } from '../entry-id.ts'
import { committedTag, entryTags, groupTag, makingTag, readRecord, recordFields, recordName, sortRecords, type EntryRecord } from './entry-record.ts' // prettier-ignore
import { dmsetup, lvm, lvmReport, mapperName } from './lvm.ts'
import { poolVolume, ThinPoolDevice } from './thin-pool-device.ts'

/** Share of the pool's metadata in use from which on nothing new is made: a pool whose metadata is full is read-only. */
const mostMetadata = 0.9

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
  readonly #device: string
  readonly #group: string
  readonly #thinPool: ThinPoolDevice
  readonly #lock = new KeyedLock()

  private constructor(id: string, device: string, group: string) {
    this.id = id
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
    for (const { name, isActive } of [...entries, ...remains]) if (isActive) await this.#resume(name)
    for (const record of entries.filter(({ group }) => group !== undefined)) await this.#leaveGroup(record)
    for (const { name } of remains) await this.#remove(name)
    for (const tag of tags.filter((each) => each.startsWith(committedTag('')))) await this.#run('vgchange', '--deltag', tag, this.#group) // prettier-ignore
  }

  async list(): Promise<PoolEntry[]> {
    return (await this.#read()).entries.map(({ id, kind, size, sourceId }) => {
      return { id, kind, size, ...(sourceId === undefined ? {} : { sourceId }) }
    })
  }

  space(): Promise<PoolSpace> {
    return this.#thinPool.space()
  }

  async usage(id: string): Promise<EntryUsage> {
    const { thinId } = await this.#entry(id)
    return (await this.#thinPool.usages()).get(thinId) ?? { own: 0, shared: 0 }
  }

  async create({ id, size, sectorSize }: { id: string; size: number; sectorSize: SectorSize }): Promise<void> {
    checkEntryId(id)
    checkSize(size, sectorSize)
    this.#checkSectors(sectorSize)
    await this.#lock.run(id, async () => {
      const wanted = { id, kind: 'volume', sectorSize } as const
      if (await this.#isThere(wanted, size)) return
      await this.#refuseFull()
      const options = ['--type', 'thin', '--virtualsize', `${size}b`, '--thinpool', poolVolume, ...newOptions(entryTags(wanted))]
      await this.#run('lvcreate', ...options, '--name', recordName(id, 0), this.#group)
    }) // prettier-ignore
  }

  async clone({ id, size, sourceId }: { id: string; size: number; sourceId: string }): Promise<void> {
    checkEntryId(id)
    await this.#lock.run(id, async () => {
      const source = await this.#entry(sourceId)
      checkSize(size, source.sectorSize)
      if (size < source.size) throw new InvalidInput(`a clone of ${sourceId} has at least its ${source.size} bytes, not ${size}`)
      const wanted = { id, kind: 'volume', sectorSize: source.sectorSize, sourceId } as const
      if (await this.#isThere(wanted, size)) return
      await this.#copy(source, recordName(id, 0), entryTags(wanted), size)
    }) // prettier-ignore
  }

  /** A copy of the content; in one step, or hidden until it has its size. */
  async #copy(source: EntryRecord, name: string, tags: string[], size: number): Promise<void> {
    await this.#refuseFull()
    await this.#discard(name)
    const isOneStep = size <= source.size
    const options = newOptions(isOneStep ? tags : [...tags, makingTag])
    await this.#held([source], () => this.#run('lvcreate', '--snapshot', ...options, '--name', name, this.#path(source.name)))
    if (isOneStep) return
    await this.#grow(name, size)
    await this.#run('lvchange', '--deltag', makingTag, this.#path(name))
  } // prettier-ignore

  async snapshot(snapshots: { id: string; volumeId: string }[]): Promise<void> {
    snapshots.forEach(({ id }) => checkEntryId(id))
    const ids = snapshots.flatMap(({ id, volumeId }) => [id, volumeId])
    await this.#lockAll([...new Set(ids)].sort(), async () => {
      const plans = await Promise.all(snapshots.map((snapshot) => this.#plan(snapshot)))
      const missing = plans.filter(({ exists }) => !exists)
      if (missing.length === 0) return
      if (missing.length < plans.length) {
        const there = plans.filter(({ exists }) => exists).map(({ id }) => id)
        throw new Conflict(`of the snapshots of one instant these exist already: ${there.join(', ')}`)
      }
      await this.#refuseFull()
      for (const { name } of missing) await this.#discard(name)
      await this.#takeSnapshots(missing)
    })
  }

  async #plan({ id, volumeId }: { id: string; volumeId: string }): Promise<SnapshotPlan> {
    const source = await this.#volume(volumeId)
    const wanted = { id, kind: 'snapshot', sectorSize: source.sectorSize, sourceId: volumeId } as const
    return { id, source, name: recordName(id, 0), tags: entryTags(wanted), exists: await this.#isThere(wanted, 0) }
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

  /**
   * Holds the writes of active volumes while a task runs. Their filesystems are not frozen (`--nolockfs`): that would
   * first write out all that is dirty, and hold writers for as long as it takes.
   */
  async #held(sources: EntryRecord[], task: () => Promise<unknown>): Promise<void> {
    const active = sources.filter(({ isActive }) => isActive)
    try {
      for (const { name } of active) await dmsetup('suspend', '--nolockfs', mapperName(this.#group, name))
      await task()
    } finally {
      for (const { name } of active) await this.#resume(name)
    }
  }

  #resume(name: string): Promise<string> {
    return dmsetup('resume', mapperName(this.#group, name))
  }

  async #leaveGroup({ name, group }: { name: string; group?: string }): Promise<void> {
    await this.#run('lvchange', '--deltag', groupTag(group!), this.#path(name))
  }

  resize(id: string, size: number): Promise<void> {
    return this.#lock.run(id, async () => {
      const volume = await this.#volume(id)
      checkSize(size, volume.sectorSize)
      if (size < volume.size - extentSlack) throw new Conflict(`${id} cannot shrink from ${volume.size} to ${size} bytes`)
      await this.#grow(volume.name, size)
    }) // prettier-ignore
  }

  /** lvm rounds up to whole extents, and fails when that is the size already. */
  async #grow(name: string, size: number): Promise<void> {
    const before = (await this.#read()).all.find((record) => record.name === name)!.size
    if (size > before) await this.#run('lvextend', '--size', `${size}b`, this.#path(name))
  }

  restore(id: string, snapshotId: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const [volume, snapshot] = [await this.#volume(id), await this.#entry(snapshotId)]
      refuseActive(volume)
      await this.#refuseFull()
      const name = recordName(id, volume.generation + 1)
      await this.#discard(name)
      const options = newOptions([...entryTags(volume), makingTag])
      await this.#held([snapshot], () => this.#run('lvcreate', '--snapshot', ...options, '--name', name, this.#path(snapshot.name)))
      await this.#grow(name, volume.size)
      await this.#run('lvchange', '--deltag', makingTag, this.#path(name))
      await this.#remove(volume.name)
    }) // prettier-ignore
  }

  delete(id: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const entry = await this.#find(id)
      if (!entry) return
      refuseActive(entry)
      await this.#remove(entry.name)
    })
  }

  activate(id: string, { readOnly }: { readOnly: boolean }): Promise<{ devicePath: string }> {
    return this.#lock.run(id, async () => {
      const entry = await this.#entry(id)
      if (entry.kind === 'snapshot' && !readOnly) {
        throw new InvalidInput(`${id} is a snapshot: it can be activated for reading only`, { remedy: 'Clone it.' })
      }
      const devicePath = this.#devicePath(entry.name)
      if (!entry.isActive) await this.#run('lvchange', '--activate', 'y', '--ignoreactivationskip', this.#path(entry.name))
      else if (entry.kind === 'volume' && isReadOnly(devicePath) !== readOnly) {
        throw new Conflict(`${id} is active for ${readOnly ? 'reading and writing' : 'reading only'}`)
      }
      if (readOnly) await exec(['blockdev', '--setro', devicePath])
      return { devicePath }
    }) // prettier-ignore
  }

  deactivate(id: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const entry = await this.#find(id)
      if (entry?.isActive) await this.#run('lvchange', '--activate', 'n', this.#path(entry.name))
    })
  }

  async active(): Promise<{ id: string; devicePath: string }[]> {
    const { entries } = await this.#read()
    return entries
      .filter(({ isActive }) => isActive)
      .map(({ id, name }) => ({ id, devicePath: this.#devicePath(name) }))
  }

  /** The pool below stays while one of its volumes is active. */
  async close(): Promise<void> {
    if ((await this.active()).length === 0) await this.#run('vgchange', '--activate', 'n', this.#group)
  }

  async #refuseFull(): Promise<void> {
    const { metadataUsed } = await this.#thinPool.space()
    if (metadataUsed <= mostMetadata) return
    const percent = Math.round(metadataUsed * 100)
    throw new Exhausted(`${percent} % of the pool's metadata are in use; nothing new is made above ${mostMetadata * 100} %`, {
      remedy: 'Delete snapshots or volumes, or use another drive.',
    })
  } // prettier-ignore

  /** Devices show the sectors of the drive, which cannot be made smaller. */
  #checkSectors(sectorSize: SectorSize): void {
    const file = `${sysfsFolder(this.#device)}/queue/logical_block_size`
    const drive = existsSync(file) ? Number(readFileSync(file, 'utf8')) : sectorSize
    if (sectorSize < drive) throw new InvalidInput(`the drive has sectors of ${drive} bytes, a volume on it cannot have ${sectorSize}`)
  } // prettier-ignore

  /** Whether an entry is there as wanted. Throws Conflict when it is there otherwise. */
  async #isThere(wanted: Pick<EntryRecord, 'id' | 'kind' | 'sectorSize' | 'sourceId'>, size: number): Promise<boolean> {
    const known = await this.#find(wanted.id)
    if (!known) return false
    const [is, should] = [entryTags(known).join(' '), entryTags(wanted).join(' ')]
    if (is === should && known.size >= size) return true
    throw new Conflict(`${wanted.id} exists as ${is} of ${known.size} bytes, not ${should} of ${size}`)
  }

  /** Removes what an attempt before left under this name. */
  async #discard(name: string): Promise<void> {
    if ((await this.#read()).remains.some((record) => record.name === name)) await this.#remove(name)
  }

  async #remove(name: string): Promise<void> {
    await this.#run('lvremove', '--force', '--yes', this.#path(name))
  }

  async #read(): Promise<{ all: EntryRecord[]; entries: EntryRecord[]; remains: EntryRecord[]; tags: string[] }> {
    const rows = await lvmReport(this.#device, 'lvs', [...recordFields, 'vg_tags'], this.#group)
    const tags = (rows[0]?.vg_tags ?? '').split(',')
    const all = rows.map(readRecord).filter((record) => record !== undefined)
    return { all, tags, ...sortRecords(all, tags) }
  }

  async #find(id: string): Promise<EntryRecord | undefined> {
    return (await this.#read()).entries.find((entry) => entry.id === id)
  }

  async #entry(id: string): Promise<EntryRecord> {
    const entry = await this.#find(id)
    if (!entry) throw new NotFound(`pool ${this.id} has no ${id}`)
    return entry
  }

  async #volume(id: string): Promise<EntryRecord> {
    const entry = await this.#entry(id)
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

  #devicePath(name: string): string {
    return `/dev/mapper/${mapperName(this.#group, name)}`
  }
}

/** A snapshot that is to be taken. */
interface SnapshotPlan {
  id: string
  source: EntryRecord
  name: string
  tags: string[]
  exists: boolean
}

/** Bytes by which lvm may have rounded a size up: one extent. */
export const extentSlack = 2 ** 20

/** A new volume is inactive, and not marked as one that activation skips. */
function newOptions(tags: string[]): string[] {
  return ['--activate', 'n', '--setactivationskip', 'n', ...tags.flatMap((tag) => ['--addtag', tag])]
}

function refuseActive({ id, isActive }: EntryRecord): void {
  if (isActive) throw new Conflict(`${id} is active`, { remedy: 'Detach it first.' })
}

function isReadOnly(devicePath: string): boolean {
  return readFileSync(`${sysfsFolder(devicePath)}/ro`, 'utf8').trim() === '1'
}
