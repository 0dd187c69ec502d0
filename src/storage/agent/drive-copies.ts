import { setTimeout as delay } from 'node:timers/promises'
import type { GuardedVolume } from '../io-limits/index.ts'

/** What a copy reads from, or writes to, on this node. */
export interface CopyDevice {
  /** uid of the snapshot that is read, or of the plex that is filled. */
  id: string
  driveName: string
  devicePath: string
}

/** How fast one copy may go. */
export interface CopyPace {
  /** Whether a volume with a floor holds it back now. */
  isHeld(): boolean
  /** Waits after so many bytes until the drive may be used again; not at all while nobody holds it back. */
  after(bytes: number): Promise<void>
}

/** Milliseconds that a copy waits after one block, at most: whoever asked for a segment does not wait for ever. */
const longestWait = 500

/**
 * Copies of snapshots from and to the drives of this node. To who keeps floors they are volumes without one; but they hold
 * themselves back, block by block. A limit of the kernel would keep threads of the agent waiting, which then could not even
 * be killed.
 */
export class DriveCopies {
  readonly #bytesPerSecond: (id: string) => number | undefined
  readonly #running = new Map<string, { volume: GuardedVolume; count: number; freeAt: number }>()

  /** `bytesPerSecond` says what a copy may move now; undefined: as much as it can. */
  constructor(bytesPerSecond: (id: string) => number | undefined) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Copies that are under way, as whoever keeps floors sees them. */
  volumes(): GuardedVolume[] {
    return [...this.#running.values()].map(({ volume }) => volume)
  }

  /** A copy begins to use a device; what is read several times at once shares one pace. */
  begin({ id, driveName, devicePath }: CopyDevice): CopyPace {
    const volume = { id, name: `copy of ${id}`, driveName, devicePath, floor: 0, consumers: [], isCopy: true }
    const running = this.#running.get(id) ?? { volume, count: 0, freeAt: 0 }
    running.count++
    this.#running.set(id, running)
    return {
      isHeld: () => this.#bytesPerSecond(id) !== undefined,
      after: async (bytes) => {
        const rate = this.#bytesPerSecond(id)
        if (rate === undefined) return
        const now = performance.now()
        running.freeAt = Math.min(now + longestWait, Math.max(now, running.freeAt) + (1000 * bytes) / rate)
        await delay(running.freeAt - now)
      },
    }
  }

  /** A copy has let go of its device. */
  end(id: string): void {
    const running = this.#running.get(id)
    if (running && --running.count === 0) this.#running.delete(id)
  }
}
