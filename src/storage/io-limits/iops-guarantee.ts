import type { Logger } from '../../base/index.ts'
import {
  FloorKeeper,
  hasDemand,
  IopsWindows,
  type KeptDrive,
  type VolumeLook,
  type Windows,
} from '../../guarantee/index.ts'
import type { CgroupIo } from './cgroup-io.ts'
import { CgroupTree } from './cgroup-tree.ts'
import { DeviceLimiter, type DeviceLimit } from './device-limiter.ts'
import { findDisk, readDiskStat, startCounting, type DiskStat, type KernelDisk } from './disk-stat.ts'
import type { ReleaseWatch } from './release-watch.ts'

/** A volume with a device on this node. */
export interface GuardedVolume {
  /** uid of its plex. */
  id: string
  name: string
  driveName: string
  devicePath: string
  /** Operations per second; 0 is best effort. */
  floor: number
  cap?: number
  /** Parts of the names of the cgroups of those who use it, such as uids of pods. */
  consumers: string[]
  /** A copy of a snapshot: it has no limit in the kernel, asks how much it may do, and holds itself back. */
  isCopy?: boolean
}

/** What a drive was measured to give. */
export interface DriveAbility extends KeptDrive {
  /** Bytes per second. */
  bandwidth: number
}

/** What a volume does now; operations and bytes per second over the last second. */
export interface VolumeRates {
  operations: number
  bytes: number
  /** To how many operations per second it is held at this moment by the floor of another one; absent: it is not. */
  heldTo?: number
}

/** What the guarantee works with. */
export interface IopsGuaranteeParts {
  volumes: () => GuardedVolume[]
  /** What a drive can do; undefined when it was never measured. */
  ability: (driveName: string) => DriveAbility | undefined
  /** Undefined: nothing can be held back on this machine. */
  io: CgroupIo | undefined
  release: ReleaseWatch
  /** Told every second. */
  onWindows: (windows: { id: string; windows: Windows }[]) => void
  logger: Logger
}

/** Milliseconds between two looks while a volume with a floor has a device, and while there are only caps, or nothing. */
const floorInterval = 50
const capInterval = 200
const idleInterval = 1_000
/** Milliseconds between two looks for cgroups that have begun to use a device. */
const adoption = 1_000
/** Milliseconds for which limits that an earlier agent left stay: by then it is known who asks for a floor. */
const inheritance = 500

interface Watched {
  volume: GuardedVolume
  since: number
  disk: KernelDisk
  stat: DiskStat
  limiter?: DeviceLimiter
  heldTo?: number
  second: { at: number; stat: DiskStat; rates: VolumeRates }
}

/**
 * Keeps the floors and caps of the volumes of a node: looks at what the kernel counts for their devices, asks the floor
 * keeper of each drive who has to stand back, and limits these through their cgroups. Everything is found anew after a
 * restart; limits that an earlier agent left are taken over or removed.
 */
export class IopsGuarantee {
  readonly name = 'IOPS guarantee'
  readonly #parts: IopsGuaranteeParts
  readonly #tree: CgroupTree | undefined
  readonly #watched = new Map<string, Watched>()
  readonly #keepers = new Map<string, FloorKeeper>()
  readonly #windows = new IopsWindows()
  /** Volumes that nothing holds back for the moment, with how many want that. */
  readonly #lifted = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #lookedAt = performance.now()
  #adoptedAt = -Infinity
  #toldAt = -Infinity

  constructor(parts: IopsGuaranteeParts) {
    this.#parts = parts
    if (parts.io) this.#tree = new CgroupTree(parts.io.root, () => (this.#adoptedAt = -Infinity))
  }

  start(): void {
    this.#timer = setTimeout(() => this.#look(), 0)
  }

  /** Lifts what is held back for floors: nobody would take it back. Caps stay, as a whole for each cgroup. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { limiter, volume } of this.#watched.values()) limiter?.rest(volume.cap)
    this.#tree?.stop()
    this.#parts.release.stop()
  }

  /** Runs work while nothing holds these volumes back, given by the uids of their plexes. */
  async withoutLimits<T>(ids: string[], work: () => Promise<T>): Promise<T> {
    const lift = (by: number): void => ids.forEach((id) => this.#lifted.set(id, (this.#lifted.get(id) ?? 0) + by))
    lift(1)
    try {
      for (const id of ids) this.#watched.get(id)?.limiter?.set(performance.now(), undefined)
      return await work()
    } finally {
      lift(-1)
      for (const id of ids) if (this.#lifted.get(id) === 0) this.#lifted.delete(id)
    }
  }

  /** What a volume does; undefined when it has no device here. */
  rates(id: string): VolumeRates | undefined {
    const watched = this.#watched.get(id)
    if (!watched) return undefined
    const { heldTo, second } = watched
    return { ...second.rates, ...(heldTo === undefined ? {} : { heldTo }) }
  }

  /** Bytes per second that a copy may move; undefined: nobody holds it back. */
  allowance(id: string): number | undefined {
    const watched = this.#watched.get(id)
    return watched?.heldTo === undefined
      ? undefined
      : watched.heldTo * this.#bytesPerOperation(watched.volume.driveName)
  }

  /** Windows of a volume with a floor, since this agent first saw it. */
  windowsOf(id: string): Windows {
    return this.#windows.of(id)
  }

  /** Volumes that have a device here now. */
  get volumes(): GuardedVolume[] {
    return [...this.#watched.values()].map(({ volume }) => volume)
  }

  #look(): void {
    try {
      this.#keep()
    } catch (error) {
      this.#parts.logger.warn({ err: error }, 'floors and caps of volumes could not be kept')
    }
    this.#timer = setTimeout(() => this.#look(), this.#interval())
  }

  #interval(): number {
    const volumes = this.volumes
    if (volumes.some(({ floor }) => floor > 0)) return floorInterval
    return volumes.some(({ cap }) => cap !== undefined) ? capInterval : idleInterval
  }

  #keep(): void {
    const now = performance.now()
    const seconds = Math.max(1e-3, (now - this.#lookedAt) / 1000)
    this.#lookedAt = now
    const looks = this.#readAll(now, seconds)
    const limits = new Map<string, DeviceLimit>()
    for (const driveName of new Set(looks.map(({ watched }) => watched.volume.driveName))) {
      const ofDrive = looks.filter(({ watched }) => watched.volume.driveName === driveName)
      for (const [id, limit] of this.#limitsOn(
        now,
        driveName,
        ofDrive.map(({ look }) => look),
      ))
        limits.set(id, limit)
    }
    this.#judge(now, looks)
    this.#enforce(now, limits)
  }

  #readAll(now: number, seconds: number): { watched: Watched; look: VolumeLook }[] {
    const volumes = this.#parts.volumes()
    const ids = new Set(volumes.map(({ id }) => id))
    for (const id of this.#watched.keys()) if (!ids.has(id)) this.#forget(now, id)
    return volumes.flatMap((volume) => {
      const watched = this.#watch(now, volume)
      return watched ? (this.#read(now, seconds, watched) ?? []) : []
    })
  }

  #watch(now: number, volume: GuardedVolume): Watched | undefined {
    const known = this.#watched.get(volume.id)
    if (known?.volume.devicePath === volume.devicePath) {
      known.volume = volume
      return known
    }
    if (known) this.#forget(now, volume.id)
    const disk = findDisk(volume.devicePath)
    if (disk) startCounting(disk)
    const stat = disk && readDiskStat(disk.statFile)
    if (!disk || !stat) return undefined
    const watched: Watched = {
      volume,
      since: now,
      disk,
      stat,
      second: { at: now, stat, rates: { operations: 0, bytes: 0 } },
    }
    const { io } = this.#parts
    const { isCopy = false } = volume
    if (io && !isCopy) watched.limiter = new DeviceLimiter(io, disk.number, this.#tree!.folders())
    this.#watched.set(volume.id, watched)
    if (!isCopy) this.#parts.release.takeOver() // only now: who knows of no volume cannot give back what an earlier agent took
    return watched
  }

  /** The number of a device that has gone is given to another one: no limit must wait for that. */
  #forget(now: number, id: string): void {
    this.#watched.get(id)!.limiter?.set(now, undefined)
    this.#watched.delete(id)
  }

  #read(now: number, seconds: number, watched: Watched): { watched: Watched; look: VolumeLook } | undefined {
    const stat = readDiskStat(watched.disk.statFile)
    if (!stat) return void this.#forget(now, watched.volume.id)
    const { volume, stat: before, second } = watched
    watched.stat = stat
    if (now - second.at >= 950) {
      const elapsed = (now - second.at) / 1000
      const rate = (key: 'operations' | 'bytes'): number => Math.max(0, stat[key] - second.stat[key]) / elapsed
      watched.second = { at: now, stat, rates: { operations: rate('operations'), bytes: rate('bytes') } }
    }
    const large = (stat.bytes - before.bytes) / this.#bytesPerOperation(volume.driveName)
    const delivered = Math.max(0, stat.operations - before.operations, large) / seconds
    const inFlight = Math.max(0, stat.busy - before.busy) / 1000 / seconds
    // what hangs has not been counted yet: it is counted when it ends
    const isHanging = stat.operations === before.operations
    const look = { id: volume.id, floor: volume.floor, delivered, inFlight: isHanging ? stat.inFlight : inFlight }
    return { watched, look }
  }

  #bytesPerOperation(driveName: string): number {
    const ability = this.#parts.ability(driveName)
    return ability ? Math.max(4096, ability.bandwidth / ability.iops) : Infinity
  }

  /** What volumes of a drive are held to, by floors of others and by their caps. */
  #limitsOn(now: number, driveName: string, looks: VolumeLook[]): Map<string, DeviceLimit> {
    const ability = this.#parts.ability(driveName)
    const held = ability ? this.#keeperOf(driveName, ability).look(now, looks) : new Map<string, number>()
    const bytesPerOperation = this.#bytesPerOperation(driveName)
    const limits = new Map<string, DeviceLimit>()
    for (const { id } of looks) {
      const watched = this.#watched.get(id)!
      const { cap = Infinity } = watched.volume
      const operations = Math.min(held.get(id) ?? Infinity, cap)
      watched.heldTo = held.has(id) && operations < cap ? operations : undefined
      if (operations === Infinity || this.#lifted.has(id)) continue
      limits.set(id, { operations, bytesPerOperation: operations < cap ? bytesPerOperation : Infinity })
    }
    return limits
  }

  #keeperOf(driveName: string, ability: DriveAbility): FloorKeeper {
    const keeper = this.#keepers.get(driveName) ?? new FloorKeeper(ability)
    keeper.drive = ability
    this.#keepers.set(driveName, keeper)
    return keeper
  }

  #judge(now: number, looks: { watched: Watched; look: VolumeLook }[]): void {
    const promised = looks.filter(({ look }) => look.floor > 0)
    this.#windows.look(
      now,
      promised.map(({ watched, look }) => {
        const ability = this.#parts.ability(watched.volume.driveName)
        return { ...look, hasDemand: ability !== undefined && hasDemand(look, ability) }
      }),
    )
    if (now - this.#toldAt < 1000) return
    this.#toldAt = now
    this.#parts.onWindows(promised.map(({ look: { id } }) => ({ id, windows: this.#windows.of(id) })))
  }

  #enforce(now: number, limits: Map<string, DeviceLimit>): void {
    const isDue = now - this.#adoptedAt >= adoption
    if (isDue) this.#adoptedAt = now
    for (const [id, { limiter, volume }] of this.#watched) {
      if (!limiter || !limits.has(id) || (limiter.isLimited && !isDue)) continue
      limiter.adopt(this.#tree!.folders(), volume.consumers)
    }
    const all = [...this.#watched.values()]
    this.#parts.release.update(all.flatMap(({ limiter, volume }) => limiter?.restingRules(volume.cap) ?? []))
    for (const [id, { limiter, since }] of this.#watched) {
      const limit = limits.get(id)
      const isLeft = limiter?.isLimited && now - since >= inheritance
      if (limiter && (limit || isLeft)) limiter.set(now, limit)
    }
  }
}
