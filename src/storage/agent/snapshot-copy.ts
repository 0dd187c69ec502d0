import { Readable } from 'node:stream'
import type { Plex } from '../../api/index.ts'
import { InvalidInput, KeyedLock, NotFound, Unavailable } from '../../base/index.ts'
import type { Pool } from '../pool-format.ts'
import { copySegment, encodeBlocks, writeBlocks } from './copy-stream.ts'
import type { CopyPace, DriveCopies } from './drive-copies.ts'
import type { OpenPools } from './open-pools.ts'

/** Fetches a range of a snapshot from the node that has it. */
export type FetchBlocks = (
  nodeName: string,
  snapshotUid: string,
  range: { offset: number; length: number },
) => Promise<AsyncIterable<Buffer>>

/** Milliseconds for which the device of a snapshot stays after it was read last. */
const idleTime = 1_000

/** Lets other nodes read the snapshots of this one. Their devices are read-only and go when nobody reads them. */
export class SnapshotReader {
  readonly #pools: OpenPools
  readonly #locks = new KeyedLock()
  readonly #copies: DriveCopies
  readonly #readers = new Map<string, { count: number; pace: CopyPace; timer?: NodeJS.Timeout }>()

  constructor(pools: OpenPools, copies: DriveCopies) {
    this.#pools = pools
    this.#copies = copies
  }

  /** The blocks of a range, encoded. Throws NotFound and InvalidInput. */
  async read(uid: string, offset: number, length: number): Promise<Readable> {
    const { pool, driveName, size } = await this.#find(uid)
    if (!(offset >= 0 && length > 0 && length <= copySegment && offset + length <= size)) {
      throw new InvalidInput(`snapshot ${uid} of ${size} bytes has no range of ${length} at ${offset}`)
    }
    const { devicePath, pace } = await this.#acquire(uid, pool, driveName)
    const stream = Readable.from(encodeBlocks(devicePath, offset, length, pace), { objectMode: false })
    stream.once('close', () => this.#release(uid, pool))
    return stream
  }

  /** Lets go of all devices. */
  async stop(): Promise<void> {
    for (const [uid, { timer }] of this.#readers) {
      clearTimeout(timer)
      this.#copies.end(uid)
      const found = await this.#find(uid).catch(() => undefined)
      await found?.pool.deactivate(uid).catch(() => {})
    }
    this.#readers.clear()
  }

  async #find(uid: string): Promise<{ pool: Pool; driveName: string; size: number }> {
    for (const driveName of this.#pools.driveNames()) {
      const pool = this.#pools.get(driveName)!
      const entry = (await pool.list()).find(({ id, kind }) => id === uid && kind === 'snapshot')
      if (entry) return { pool, driveName, size: entry.size }
    }
    throw new NotFound(`this node has no snapshot ${uid}`)
  }

  #acquire(uid: string, pool: Pool, driveName: string): Promise<{ devicePath: string; pace: CopyPace }> {
    return this.#locks.run(uid, async () => {
      const { devicePath } = await pool.activate(uid, { readOnly: true })
      const known = this.#readers.get(uid)
      clearTimeout(known?.timer)
      const { count, pace } = known ?? { count: 0, pace: this.#copies.begin({ id: uid, driveName, devicePath }) }
      this.#readers.set(uid, { count: count + 1, pace })
      return { devicePath, pace }
    })
  }

  #release(uid: string, pool: Pool): void {
    const reader = this.#readers.get(uid)
    if (!reader) return
    const count = reader.count - 1
    const timer = count > 0 ? undefined : setTimeout(() => void this.#deactivate(uid, pool), idleTime)
    timer?.unref()
    this.#readers.set(uid, { count, pace: reader.pace, ...(timer ? { timer } : {}) })
  }

  #deactivate(uid: string, pool: Pool): Promise<void> {
    return this.#locks.run(uid, async () => {
      if (this.#readers.get(uid)?.count) return
      this.#readers.delete(uid)
      this.#copies.end(uid)
      await pool.deactivate(uid).catch(() => {}) // gone, or still open: looked at again at the next start
    })
  }
}

/** What a copy works with beside its plex. */
export interface CopyParts {
  fetch: FetchBlocks
  /** Where it says that it uses a drive, and is told how fast it may. */
  copies: DriveCopies
  /** Whether the plex is to go meanwhile. */
  isReleased: (plex: Plex) => boolean
  /** Whether this agent is: the copy goes on where it was, in the next one. */
  isStopping: () => boolean
}

/**
 * Fills a plex with a snapshot that lies on another drive, segment by segment. `progress` is reported after the segment
 * is on the drive, so that a copy goes on where it was cut off; a snapshot does not change, so that what was written of a
 * segment before is written again as it was. Returns false when the plex is to go meanwhile. Throws Unavailable when the
 * agent is being stopped.
 */
export async function copySnapshot(
  plex: Plex,
  pool: Pool,
  report: (progress: number) => Promise<void>,
  { fetch, copies, isReleased, isStopping }: CopyParts,
): Promise<boolean> {
  const { spec, status, metadata } = plex
  const { uid: snapshotUid, nodeName, size } = spec.source!
  const id = metadata.uid!
  await pool.create({ id, size: Math.max(spec.size, size), sectorSize: pool.sectorSize })
  const { devicePath } = await pool.activate(id, { readOnly: false })
  const { isHeld, after } = copies.begin({ id, driveName: spec.driveName, devicePath })
  const pace: CopyPace = {
    isHeld,
    async after(bytes) {
      requireRunning(isStopping)
      await after(bytes)
    },
  }
  const resumed = Math.floor(((status?.progress ?? 0) * size) / copySegment) * copySegment
  try {
    for (let offset = resumed; offset < size; offset += copySegment) {
      if (isReleased(plex)) return false
      requireRunning(isStopping)
      const range = { offset, length: Math.min(copySegment, size - offset) }
      await writeBlocks(await fetch(nodeName, snapshotUid, range), devicePath, range, pace)
      await report(Math.min(0.999, (offset + range.length) / size))
    }
  } finally {
    copies.end(id)
    await pool.deactivate(id)
  }
  return true
}

function requireRunning(isStopping: () => boolean): void {
  if (isStopping()) throw new Unavailable('the agent is being stopped; the copy goes on when it runs again')
}
