import { open, type FileHandle } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { exec, Unavailable, type Logger } from '../../../base/index.ts'
import type { Pool } from '../../pool-format.ts'
import { freeze } from './freeze-watchdog.ts'
import { mountsOfDevice } from './mounts-of-device.ts'
import { QuiesceJournal, type QuiesceRecord } from './quiesce-journal.ts'

/** Runs work while the caps of volumes, given by the uids of their plexes, do not hold. */
export type WithoutCaps = <T>(plexUids: string[], work: () => Promise<T>) => Promise<T>

/** Settings of a quiescer. */
export interface QuiescerOptions {
  logger: Logger
  withoutCaps?: WithoutCaps
  /** Where it remembers what it has begun. */
  folder?: string
  /** Milliseconds in which the filesystems have to be written out before anything is frozen; 8000 unless told. */
  syncDeadline?: number
  /** Milliseconds that a filesystem is frozen at most; 3000 unless told. */
  freezeLimit?: number
}

/** A freeze has this many milliseconds' worth of writing left, about: what the last sync before it took at most. */
const shortSync = 200

/**
 * Takes snapshots of filesystems that stand still. First they are written out, as often as it takes until that is quick:
 * a freeze holds every writer until all that is dirty is on the drive. Then a process of its own freezes them and thaws
 * them whatever happens to this one. What does not succeed in time fails, and the application goes on.
 */
export class Quiescer {
  readonly #options: QuiescerOptions & { withoutCaps: WithoutCaps; syncDeadline: number; freezeLimit: number }
  readonly #journal: QuiesceJournal
  /** Begun by this program before it was killed. */
  #left: QuiesceRecord[] = []

  constructor(options: QuiescerOptions) {
    this.#options = {
      ...options,
      withoutCaps: options.withoutCaps ?? ((_, work) => work()),
      syncDeadline: options.syncDeadline ?? 8000,
      freezeLimit: options.freezeLimit ?? 3000,
    }
    this.#journal = new QuiesceJournal(options.folder ?? '/run/carbonado/quiesce')
  }

  /** Thaws what an earlier run of this program left frozen, in case its watchdog was killed with it. */
  async recover(): Promise<void> {
    this.#left = this.#journal.records()
    for (const { devices, snapshots } of this.#left) {
      this.#options.logger.warn({ devices, snapshots }, 'snapshots of frozen filesystems were cut off')
      for (const device of devices) await thawDevice(device)
    }
  }

  /** Removes from the pool what may have been taken of these snapshots after the filesystems went on. */
  async discardLeft(ids: string[], pool: Pool): Promise<void> {
    for (const record of this.#left.filter(({ snapshots }) => snapshots.some((id) => ids.includes(id)))) {
      for (const id of record.snapshots) await pool.delete(id)
      this.#left = this.#left.filter((each) => each !== record)
      this.#journal.end(record)
    }
  }

  /**
   * Takes snapshots of volumes, given by the uids of their plexes, while the filesystems on them stand still. Throws
   * Unavailable when that could not be had in time; then there are no snapshots.
   */
  async run(pool: Pool, members: { id: string; volumeId: string }[], take: () => Promise<void>): Promise<void> {
    const volumes = members.map(({ volumeId }) => volumeId)
    const devices = (await pool.active()).filter(({ id }) => volumes.includes(id)).map(({ devicePath }) => devicePath)
    const mounted = devices.filter((device) => writableMount(device) !== undefined)
    if (mounted.length === 0) return take()
    const opened = await Promise.allSettled(mounted.map((device) => open(writableMount(device)!)))
    const folders = opened.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
    try {
      for (const result of opened) if (result.status === 'rejected') throw result.reason
      await this.#options.withoutCaps(volumes, async () => {
        await this.#writeOut(folders)
        await this.#takeFrozen(pool, { snapshots: members.map(({ id }) => id), devices: mounted }, folders, take)
      })
    } finally {
      await Promise.all(folders.map((folder) => folder.close()))
    }
  }

  async #writeOut(folders: FileHandle[]): Promise<void> {
    const { syncDeadline } = this.#options
    const giveUp = performance.now() + syncDeadline
    for (;;) {
      const begin = performance.now()
      const isDone = await Promise.race([synced(folders), delay(Math.max(0, giveUp - begin), false, { ref: false })])
      const now = performance.now()
      if (isDone && now - begin <= shortSync) return
      if (!isDone || now >= giveUp) {
        throw new Unavailable(
          `the filesystem could not be written out within ${syncDeadline / 1000} s; nothing was frozen`,
          { remedy: 'Try again when less is written, or take the snapshot without quiesce.' },
        )
      }
    }
  }

  async #takeFrozen(pool: Pool, record: QuiesceRecord, folders: FileHandle[], take: () => Promise<void>): Promise<void> {
    const { freezeLimit } = this.#options
    this.#journal.begin(record)
    try {
      const frozen = await freeze(folders.map(({ fd }) => fd), freezeLimit)
      const problem = await take().then(() => undefined, (error: unknown) => ({ error }))
      const isHeld = await frozen.thaw()
      if (problem) throw problem.error
      if (!isHeld) {
        for (const id of record.snapshots) await pool.delete(id)
        throw new Unavailable(`the snapshot took longer than the ${freezeLimit / 1000} s that a filesystem may be frozen`, {
          remedy: 'Try again when less is written, or take the snapshot without quiesce.',
        })
      }
    } finally {
      this.#journal.end(record)
    }
  } // prettier-ignore
}

function writableMount(device: string): string | undefined {
  return mountsOfDevice(device).find(({ isWritable }) => isWritable)?.path
}

/** In a process of its own: one that hangs in the kernel holds up nobody. */
async function synced(folders: FileHandle[]): Promise<true> {
  const paths = folders.map(({ fd }) => `/proc/${process.pid}/fd/${fd}`)
  await exec(['sync', '--file-system', ...paths], { deadline: 60_000 })
  return true
}

/** Nothing to do when it is not frozen, or not there any more. */
async function thawDevice(device: string): Promise<void> {
  const [mount] = await Promise.resolve().then(() => mountsOfDevice(device)).catch(() => []) // prettier-ignore
  if (mount) await exec(['fsfreeze', '--unfreeze', mount.path]).catch(() => {})
}
