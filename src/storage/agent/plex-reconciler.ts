import { isDeepStrictEqual } from 'node:util'
import { Plex, plexFinalizer } from '../../api/index.ts'
import { asCarbonadoError, KeyedLock, type Logger, type ReconcileResult } from '../../base/index.ts'
import { findObject, type Informer, type ResourceStore } from '../../store/index.ts'
import type { EntryUsage, Pool, PoolEntry } from '../pool-format.ts'
import type { OpenPools } from './open-pools.ts'
import type { RisingClock } from './rising-clock.ts'
import type { Quiescer } from './quiesce/quiescer.ts'
import { nextPlexStep, snapshotReport, snapshotsToTake, type PlexStep } from './plex-decision.ts'

type PlexStatus = NonNullable<Plex['status']>

/** Fills a plex from its source on another drive; resumes what was begun. False when the plex is to go meanwhile. */
export type CopyPlex = (plex: Plex, pool: Pool, report: (progress: number) => Promise<void>) => Promise<boolean>

/** What the plex reconciler works with. */
export interface PlexReconcilerParts {
  store: ResourceStore
  plexes: Informer<Plex>
  pools: OpenPools
  usageOf: (entryId: string) => EntryUsage | undefined
  copy: CopyPlex
  clock: RisingClock
  /** Enlarges the filesystem on a device that has grown, where it is mounted. */
  growFilesystem: (devicePath: string) => Promise<void>
  quiescer: Pick<Quiescer, 'run' | 'discardLeft'>
  /** Why the pool of a drive is not open. */
  driveProblem: (driveName: string) => string
  /** Told when the content of a pool has changed. */
  onPoolChanged: (driveName: string) => void
  /** Does what gives space of a pool back. */
  freeing: (driveName: string, work: () => Promise<void>) => Promise<void>
  /** Has another plex looked at. */
  requeue: (plexName: string) => void
  logger: Logger
}

const optionalFields = ['message', 'size', 'deviceSize', 'madeAt', 'usage', 'progress', 'restoredRequestId'] as const

/** Milliseconds until a plex whose pool is not there is looked at again, beside news of its drive. */
const downRetry = 10_000

/**
 * Brings the plexes of this node in line with their objects, one plex at a time, from whatever state they are in. Each
 * step is idempotent in the pool and is decided anew from pool and object, so that a crash between any two of them is
 * made good by going on; see plex-decision.ts for why nothing is leaked and plex-crashes.test.ts for each such point.
 */
export class PlexReconciler {
  readonly #parts: PlexReconcilerParts
  readonly #locks = new KeyedLock()
  /** Why a snapshot could not be taken, until the plex says so. */
  readonly #failures = new Map<string, string>()
  /** When a snapshot was taken, until the plex says so. */
  readonly #taken = new Map<string, string>()

  constructor(parts: PlexReconcilerParts) {
    this.#parts = parts
  }

  /** Runs operations on the entry of a plex one after the other. */
  withPlex<T>(uid: string, work: () => Promise<T>): Promise<T> {
    return this.#locks.run(uid, work)
  }

  async reconcile(name: string): Promise<ReconcileResult> {
    const plex = await this.#live(name)
    if (!plex) return { done: true }
    const pool = this.#poolOf(plex)
    if (!pool) return this.#reportDown(plex)
    return this.withPlex(plex.metadata.uid!, () => this.#bringUp(plex, pool))
  }

  async #live(name: string): Promise<Plex | undefined> {
    return findObject(this.#parts.store, Plex, { name })
  }

  #poolOf({ spec }: Plex): Pool | undefined {
    const pool = this.#parts.pools.get(spec.driveName)
    return pool?.id === spec.poolId ? pool : undefined
  }

  async #reportDown(plex: Plex): Promise<ReconcileResult> {
    const { driveName, poolId } = plex.spec
    const open = this.#parts.pools.get(driveName)
    const message = open
      ? `drive ${driveName} has the pool ${open.id}, not ${poolId}`
      : this.#parts.driveProblem(driveName)
    await this.#down(plex, message)
    return { requeueAfter: downRetry }
  }

  async #down(plex: Plex, message: string): Promise<void> {
    const { status } = plex
    const state = status?.madeAt === undefined ? 'Pending' : 'Down'
    await this.#write(plex, { snapshots: [], ...status, state, generation: status?.generation ?? 0, message })
  }

  async #bringUp(first: Plex, pool: Pool): Promise<ReconcileResult> {
    let plex = first
    await this.#parts.quiescer.discardLeft(first.spec.snapshots.map(({ uid }) => uid), pool) // prettier-ignore
    for (;;) {
      const entries: PoolEntry[] = await pool.list()
      const step = nextPlexStep(plex, entries)
      if (step.step === 'report') return this.#report(plex, pool, entries)
      if (step.step === 'down') {
        await this.#down(plex, step.message)
        return { requeueAfter: downRetry }
      }
      const goesOn = await this.#execute(step, plex, pool)
      const current: Plex | undefined = goesOn ? await this.#live(plex.metadata.name) : undefined
      if (current?.metadata.uid !== first.metadata.uid) return { done: true }
      plex = current!
      this.#parts.logger.debug({ plex: first.metadata.name, step: step.step }, 'a step of reconciling is done')
    }
  }

  /** Carries out a step; false when the plex is done with. */
  async #execute(step: PlexStep, plex: Plex, pool: Pool): Promise<boolean> {
    const { metadata, spec } = plex
    const id = metadata.uid!
    switch (step.step) {
      case 'delete':
        await pool.deactivate(id)
        await this.#delete(pool, spec.driveName, step.entryIds)
        return true
      case 'release':
        await this.#release(plex)
        return false
      case 'create':
        await pool.create({ id, size: spec.size, sectorSize: pool.sectorSize })
        return true
      case 'clone':
        await pool.clone({ id, size: Math.max(spec.size, spec.source!.size), sourceId: step.sourceId })
        return true
      case 'copy':
        return this.#copy(plex, pool)
      case 'resize':
        await pool.resize(id, spec.size)
        this.#parts.onPoolChanged(spec.driveName)
        return true
      case 'restore':
        await this.#parts.freeing(spec.driveName, () => pool.restore(id, step.snapshotUid))
        await this.#write(plex, { ...statusOf(plex), restoredRequestId: step.requestId })
        return true
      case 'delete-snapshots':
        await this.#delete(pool, spec.driveName, step.entryIds)
        return true
      case 'announce-snapshots':
        await this.#announce(plex, step.uids)
        return true
      case 'down':
      case 'report':
        return false
    }
  }

  #delete(pool: Pool, driveName: string, entryIds: string[]): Promise<void> {
    return this.#parts.freeing(driveName, async () => {
      for (const entryId of entryIds) await pool.delete(entryId)
    })
  }

  async #release({ metadata }: Plex): Promise<void> {
    const { name, finalizers = [], resourceVersion } = metadata
    const rest = finalizers.filter((each) => each !== plexFinalizer)
    await this.#parts.store.patch(Plex, { name }, { metadata: { finalizers: rest } }, { resourceVersion })
  }

  /** Says that it has begun before the first byte: an entry of a copy is whole only when the plex says so. */
  async #copy(plex: Plex, pool: Pool): Promise<boolean> {
    const report = async (progress: number): Promise<void> => {
      const { name, uid } = plex.metadata
      const status = {
        state: 'Pending',
        generation: 0,
        progress,
        snapshots: [],
        message: `copying from node ${plex.spec.source!.nodeName}`,
      }
      await this.#parts.store.patch(Plex, { name }, { metadata: { uid }, status }, { subresource: 'status' })
    }
    if (plex.status?.progress === undefined) await report(0)
    if (!(await this.#parts.copy(plex, pool, report))) return true
    const current = await this.#live(plex.metadata.name)
    if (!current) return false
    await this.#write(current, { ...statusOf(current), madeAt: this.#parts.clock.now(), progress: 1 })
    return true
  }

  /** The pool has grown, and with it the device; the size is told when the filesystem has followed. */
  async #growFilesystem(plex: Plex, pool: Pool, entry: PoolEntry): Promise<void> {
    const { metadata, status } = plex
    if (status?.size === undefined || status.size >= entry.size) return
    const device = (await pool.active()).find(({ id }) => id === metadata.uid)
    if (!device) return
    try {
      await this.#parts.growFilesystem(device.devicePath)
    } catch (error) {
      const message = `the device has grown, its filesystem could not: ${asCarbonadoError(error).message}`
      await this.#write(plex, { ...status, deviceSize: entry.size, message })
      throw error
    }
  }

  /** Only for the spec that was seen: what is announced later than its release would never be released. */
  async #announce(plex: Plex, uids: string[]): Promise<void> {
    const status = statusOf(plex)
    const snapshots = [...status.snapshots, ...uids.map((uid) => ({ uid }))]
    await this.#write(plex, { ...status, snapshots }, plex.metadata.resourceVersion)
    for (const { groupPlexes = [] } of plex.spec.snapshots) groupPlexes.forEach((name) => this.#parts.requeue(name))
  }

  async #report(plex: Plex, pool: Pool, entries: PoolEntry[]): Promise<ReconcileResult> {
    const waiting = await this.#takeSnapshots(plex, pool, entries)
    const now = await pool.list()
    const entry = now.find(({ id }) => id === plex.metadata.uid)!
    await this.#growFilesystem(plex, pool, entry)
    const wanted = new Set(plex.spec.snapshots.map(({ uid }) => uid))
    const { usageOf } = this.#parts
    const usage = usageOf(entry.id)
    const snapshots = statusOf(plex)
      .snapshots.filter(({ uid }) => wanted.has(uid))
      .map((before) => {
        const { uid } = before
        const time = this.#taken.get(uid) ?? this.#parts.clock.now()
        const known = { time, usage: usageOf(uid), failure: this.#failures.get(uid) }
        return snapshotReport(
          before,
          now.find(({ id }) => id === uid),
          known,
        )
      })
    const { restoredRequestId, progress, madeAt = this.#parts.clock.now() } = plex.status ?? {}
    await this.#write(plex, {
      state: 'Up',
      generation: plex.metadata.generation ?? 0,
      size: entry.size,
      madeAt,
      snapshots,
      ...(usage ? { usage } : {}),
      ...(progress === undefined ? {} : { progress }),
      ...(restoredRequestId === undefined ? {} : { restoredRequestId }),
    })
    const wasTaken = new Map(statusOf(plex).snapshots.map(({ uid, takenAt }) => [uid, takenAt]))
    const isNew = snapshots.some(({ uid, takenAt }) => takenAt !== undefined && wasTaken.get(uid) === undefined)
    for (const { uid } of snapshots) [this.#taken, this.#failures].forEach((map) => map.delete(uid))
    if (isNew || plex.status?.madeAt === undefined) this.#parts.onPoolChanged(plex.spec.driveName)
    return waiting ? { requeueAfter: 200 } : { done: true }
  }

  /** Takes what is announced; true while members of a group are waited for. */
  async #takeSnapshots(plex: Plex, pool: Pool, entries: PoolEntry[]): Promise<boolean> {
    let isWaiting = false
    for (const { uid, groupUid, groupPlexes, quiesce = false } of snapshotsToTake(plex, entries)) {
      if (this.#failures.has(uid)) continue
      const members =
        groupUid === undefined
          ? [{ id: uid, volumeId: plex.metadata.uid! }]
          : this.#members(plex, groupUid, groupPlexes!)
      if (!members) isWaiting = true
      else await this.#locks.run(`group ${groupUid ?? uid}`, () => this.#take(pool, members, quiesce))
    }
    return isWaiting
  }

  /** All snapshots of a group, once every plex has announced its own; undefined before. */
  #members(plex: Plex, groupUid: string, groupPlexes: string[]): { id: string; volumeId: string }[] | undefined {
    const members = groupPlexes.map((name) => {
      const other = name === plex.metadata.name ? plex : this.#parts.plexes.get({ name })
      const wish = other?.spec.snapshots.find((snapshot) => snapshot.groupUid === groupUid)
      const isAnnounced = other?.status?.snapshots.some(({ uid }) => uid === wish?.uid) ?? false
      return wish && isAnnounced ? { id: wish.uid, volumeId: other!.metadata.uid! } : undefined
    })
    return members.every((member) => member !== undefined) ? members : undefined
  }

  async #take(pool: Pool, members: { id: string; volumeId: string }[], quiesce: boolean): Promise<void> {
    try {
      const there = new Set((await pool.list()).map(({ id }) => id))
      if (members.every(({ id }) => there.has(id))) return
      if (quiesce) await this.#parts.quiescer.run(pool, members, () => pool.snapshot(members))
      else await pool.snapshot(members)
      // afterwards, so that no measurement that began before the snapshot looks as if it contained it
      const time = this.#parts.clock.now()
      for (const { id } of members) this.#taken.set(id, time)
    } catch (thrown) {
      const error = asCarbonadoError(thrown)
      const isFinal = error.code === 'Exhausted' || error.code === 'Conflict' || error.code === 'NotFound'
      if (!isFinal && !(quiesce && error.code === 'Unavailable')) throw error // an application is not frozen again and again
      for (const { id } of members) this.#failures.set(id, error.message)
    }
  }

  /** Replaces the status of a plex as a whole, unless it says that already. */
  async #write({ metadata, status: before }: Plex, status: PlexStatus, resourceVersion?: string): Promise<void> {
    if (isDeepStrictEqual(before, status)) return
    const cleared = Object.fromEntries(optionalFields.map((field) => [field, null]))
    const patch = { metadata: { uid: metadata.uid }, status: { ...cleared, ...status } }
    await this.#parts.store.patch(Plex, { name: metadata.name }, patch, { subresource: 'status', resourceVersion })
  }
}

function statusOf({ status }: Plex): PlexStatus {
  return status ?? { state: 'Pending', generation: 0, snapshots: [] }
}
