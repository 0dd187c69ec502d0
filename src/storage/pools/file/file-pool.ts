import { open, readdir, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Conflict, Internal, InvalidInput, KeyedLock, NotFound } from '../../../base/index.ts'
import type { EntryUsage, Pool, PoolEntry, PoolSpace, SectorSize } from '../../pool-format.ts'
import { checkSectorSize } from '../../device-number.ts'
import { checkEntryId, checkSize } from '../entry-id.ts'
import {
  commit,
  commitGroup,
  discardMaking,
  finishGroups,
  making,
  prepareMaking,
  removeUnfinished,
} from './crash-repair.ts'
import { entryName, parseEntryName, type NamedEntry } from './entry-name.ts'
import { extentUsage } from './extents.ts'
import { hasFailed, unmountPool } from './filesystem.ts'
import { copyTogether } from './group-copy.ts'
import {
  attachLoop,
  backingFileOf,
  describeLoop,
  detachLoop,
  loopNames,
  loopOver,
  updateLoopCapacity,
  type LoopDevice,
  type LoopNames,
} from './loop-device.ts'
import { asSpaceError, copySubvolume, createSubvolume, deleteSubvolumes, exchange, syncFolder } from './subvolumes.ts'

/** The one file in an entry's folder. */
const dataFile = 'data'

/**
 * A pool whose volumes are files, each in a btrfs subvolume of its own whose name says everything about it.
 *
 * **Crashes.** What is being made is in a folder whose name begins with `making.`; moving it to its own name is the commit. An entry
 * is deleted by one transaction of the filesystem. So `list`, which reads the names, sees whole entries only, and
 * `open` removes the rest.
 */
export class FilePool implements Pool {
  readonly id: string
  readonly format = 'file'
  readonly sectorSize: SectorSize
  readonly #folder: string
  readonly #lock = new KeyedLock()

  private constructor(id: string, folder: string, sectorSize: SectorSize) {
    this.id = id
    this.sectorSize = sectorSize
    this.#folder = folder
  }

  /** Opens the pool that is mounted there. */
  static async open(id: string, folder: string, sectorSize: SectorSize): Promise<FilePool> {
    await finishGroups(folder)
    await removeUnfinished(folder)
    return new FilePool(id, folder, sectorSize)
  }

  async list(): Promise<PoolEntry[]> {
    const sized = (await this.#entries()).map(async (named) => {
      const { sectorSize: _, ...entry } = named
      const size = await stat(this.#data(named)).then((file) => file.size, ignoreMissing)
      return size === undefined ? [] : [{ ...entry, size }]
    })
    return (await Promise.all(sized)).flat()
  }

  async space(): Promise<PoolSpace> {
    if (hasFailed(this.#folder)) {
      throw new Internal('its drive failed to write, and nothing can be changed in it any more', {
        remedy: 'Look at the drive. The pool is opened anew when its volumes are detached.',
      })
    }
    const { blocks, bavail, bsize } = await statfs(this.#folder)
    return { capacity: blocks * bsize, used: (blocks - bavail) * bsize }
  }

  /** One file after the other: each takes memory while it is read. What cannot be read is left out. */
  async usages(): Promise<Map<string, EntryUsage>> {
    const usages = new Map<string, EntryUsage>()
    for (const entry of await this.#entries()) {
      const usage = await extentUsage(this.#data(entry)).catch(() => undefined)
      if (usage) usages.set(entry.id, usage)
    }
    return usages
  }

  async create(volume: { id: string; size: number; sectorSize: SectorSize }): Promise<void> {
    const { id, size, sectorSize } = volume
    checkEntryId(id)
    checkSize(size, sectorSize)
    checkSectorSize(sectorSize, this.sectorSize)
    await this.#make({ id, kind: 'volume', sectorSize }, size, createSubvolume)
  }

  async clone({ id, size, sourceId }: { id: string; size: number; sourceId: string }): Promise<void> {
    checkEntryId(id)
    const source = await this.#entry(sourceId)
    const { sectorSize } = source
    checkSize(size, sectorSize)
    const { size: least } = await stat(this.#data(source))
    if (size < least) throw new InvalidInput(`a clone of ${sourceId} has at least its ${least} bytes, not ${size}`)
    await this.#make({ id, kind: 'volume', sectorSize, sourceId }, size, (path) =>
      copySubvolume(this.#path(source), path),
    )
  }

  /** Makes a volume under its own name, which is the commit; one that is there already must be what was asked for. */
  #make(entry: NamedEntry, size: number, fill: (path: string) => Promise<void>): Promise<void> {
    return this.#change(entry.id, async () => {
      const known = await this.#find(entry.id)
      if (known) return this.#checkSame(known, entry, size)
      const name = entryName(entry)
      await prepareMaking(this.#folder, name)
      await fill(join(this.#folder, making(name)))
      await setSize(join(this.#folder, making(name), dataFile), size, { flush: false }) // goes with the rename
      await commit(this.#folder, name)
    })
  }

  async #checkSame(known: NamedEntry, wanted: NamedEntry, size: number): Promise<void> {
    const existing = (await stat(this.#data(known))).size
    if (entryName(known) === entryName(wanted) && existing >= size) return
    throw new Conflict(
      `${wanted.id} exists as ${entryName(known)} of ${existing} bytes, not ${entryName(wanted)} of ${size}`,
    )
  }

  async snapshot(snapshots: { id: string; volumeId: string }[]): Promise<void> {
    const ids = snapshots.flatMap(({ id, volumeId }) => [id, volumeId])
    ids.forEach(checkEntryId)
    await this.#changeAll([...new Set(ids)].sort(), () => this.#snapshotLocked(snapshots))
  }

  async #snapshotLocked(snapshots: { id: string; volumeId: string }[]): Promise<void> {
    const all = await Promise.all(snapshots.map((snapshot) => this.#plan(snapshot)))
    const missing = all.filter(({ exists }) => !exists)
    if (missing.length === 0) return
    if (missing.length < all.length) {
      const there = all.filter(({ exists }) => exists).map(({ name }) => name)
      throw new Conflict(`of the snapshots of one instant these exist already: ${there.join(', ')}`)
    }
    for (const { name } of missing) await prepareMaking(this.#folder, name)
    await copyTogether(this.#folder, missing.map(({ source, name }) => ({ from: source, to: making(name) }))) // prettier-ignore
    if (missing.length === 1) await commit(this.#folder, missing[0]!.name)
    else await commitGroup(this.#folder, missing.map(({ name }) => name)) // prettier-ignore
  }

  async #plan({ id, volumeId }: { id: string; volumeId: string }): Promise<{ name: string; source: string; exists: boolean }> {
    const volume = await this.#entry(volumeId)
    const name = entryName({ id, kind: 'snapshot', sectorSize: volume.sectorSize, sourceId: volumeId })
    const known = await this.#find(id)
    if (known && entryName(known) !== name) throw new Conflict(`${id} exists as ${entryName(known)}, not ${name}`)
    return { name, source: entryName(volume), exists: known !== undefined }
  } // prettier-ignore

  #changeAll(ids: string[], task: () => Promise<void>): Promise<void> {
    const [first, ...rest] = ids
    return first === undefined ? task() : this.#change(first, () => this.#changeAll(rest, task))
  }

  /** One change of an entry at a time; a full filesystem becomes Exhausted. */
  #change(id: string, task: () => Promise<void>): Promise<void> {
    return this.#lock.run(id, task).catch((error: unknown) => {
      throw asSpaceError(error)
    })
  }

  resize(id: string, size: number): Promise<void> {
    return this.#change(id, async () => {
      const volume = await this.#volume(id)
      checkSize(size, volume.sectorSize)
      const before = (await stat(this.#data(volume))).size
      if (size < before) throw new Conflict(`${id} cannot shrink from ${before} to ${size} bytes`)
      if (size > before) await setSize(this.#data(volume), size, { flush: true })
      const device = await loopOver(this.#data(volume))
      if (device) await updateLoopCapacity(device.devicePath)
    })
  }

  restore(id: string, snapshotId: string): Promise<void> {
    return this.#change(id, async () => {
      const [volume, snapshot] = [await this.#volume(id), await this.#entry(snapshotId)]
      await this.#refuseActive(volume)
      const name = entryName(volume)
      const { size } = await stat(this.#data(volume))
      await prepareMaking(this.#folder, name)
      const copy = join(this.#folder, making(name))
      await copySubvolume(this.#path(snapshot), copy)
      await setSize(join(copy, dataFile), Math.max(size, (await stat(this.#data(snapshot))).size), { flush: false })
      await exchange(copy, this.#path(volume))
      await syncFolder(this.#folder)
      await discardMaking(this.#folder, name)
    })
  }

  delete(id: string): Promise<void> {
    return this.#change(id, async () => {
      const entry = await this.#find(id)
      if (!entry) return
      await this.#refuseActive(entry)
      await deleteSubvolumes(this.#folder, [this.#path(entry)])
    })
  }

  activate(id: string, { readOnly }: { readOnly: boolean }): Promise<{ devicePath: string }> {
    return this.#lock.run(id, async () => {
      const entry = await this.#entry(id)
      if (entry.kind === 'snapshot' && !readOnly) {
        throw new InvalidInput(`${id} is a snapshot: it can be activated for reading only`, { remedy: 'Clone it.' })
      }
      const known = await loopOver(this.#data(entry))
      if (!known) return { devicePath: await attachLoop(this.#data(entry), { sectorSize: entry.sectorSize, readOnly }) }
      if (known.readOnly !== readOnly) {
        throw new Conflict(`${id} is active for ${known.readOnly ? 'reading only' : 'reading and writing'}`)
      }
      await updateLoopCapacity(known.devicePath) // a crash may have come between growing the file and this
      return { devicePath: known.devicePath }
    })
  }

  deactivate(id: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const [device] = await this.#devices((entry) => entry.id === id)
      if (device) await detachLoop(device)
    })
  }

  async active(): Promise<{ id: string; devicePath: string }[]> {
    return (await this.#devices(() => true)).map(({ id, devicePath }) => ({ id, devicePath }))
  }

  /** From the devices alone: they can be removed also where the drive has failed and no folder can be read any more. */
  async #devices(isWanted: (entry: NamedEntry) => boolean): Promise<(LoopDevice & { id: string })[]> {
    const names = loopNames()
    const entries = [...names.keys()].flatMap((end) => parseEntryName(dirname(end)) ?? [])
    const found = entries.filter(isWanted).map(async (entry) => {
      const device = await loopOver(this.#data(entry), names).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'EIO') return ignoreMissing(error) // of another pool
        return this.#namedDevice(entry, names)
      })
      return device ? [{ id: entry.id, ...device }] : []
    })
    return (await Promise.all(found)).flat()
  }

  /** By the path of its file alone, which has the id of this pool in it: of another pool's devices nothing may be done. */
  async #namedDevice(entry: NamedEntry, names: LoopNames): Promise<LoopDevice | undefined> {
    const end = `${entryName(entry)}/${dataFile}`
    const isOurs = (each: string): boolean => backingFileOf(each)?.endsWith(`/${this.id}/${end}`) ?? false
    const name = names.get(end)?.find(isOurs)
    if (name === undefined) return undefined
    const device = await describeLoop(`/dev/${name}`)
    return isOurs(name) ? device : undefined // it may have become another file's meanwhile
  }

  close(): Promise<void> {
    return unmountPool(this.#folder)
  }

  async #refuseActive(entry: NamedEntry): Promise<void> {
    const device = await loopOver(this.#data(entry))
    if (device) throw new Conflict(`${entry.id} is active as ${device.devicePath}`, { remedy: 'Detach it first.' })
  }

  async #entries(): Promise<NamedEntry[]> {
    return (await readdir(this.#folder)).map(parseEntryName).filter((entry) => entry !== undefined)
  }

  async #find(id: string): Promise<NamedEntry | undefined> {
    return (await this.#entries()).find((entry) => entry.id === id)
  }

  async #entry(id: string): Promise<NamedEntry> {
    const entry = await this.#find(id)
    if (!entry) throw new NotFound(`pool ${this.id} has no ${id}`)
    return entry
  }

  async #volume(id: string): Promise<NamedEntry> {
    const entry = await this.#entry(id)
    if (entry.kind !== 'volume') throw new InvalidInput(`${id} is a snapshot; its content and size stay as they are`)
    return entry
  }

  #path(entry: NamedEntry): string {
    return join(this.#folder, entryName(entry))
  }

  #data(entry: NamedEntry): string {
    return join(this.#path(entry), dataFile)
  }
}

/** Sets a file's size, making the file when there is none. */
async function setSize(path: string, size: number, { flush }: { flush: boolean }): Promise<void> {
  await using file = await open(path, 'a')
  await file.truncate(size)
  if (flush) await file.sync()
}

/** What was deleted while it was looked at. */
function ignoreMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
