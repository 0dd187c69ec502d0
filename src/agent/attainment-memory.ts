import { readIfWhole, writeWhole, type Logger } from '../base/index.ts'
import { sumOfWindows, WindowHistory, type RecentWindows, type SavedHistory, type Windows } from '../guarantee/index.ts'
import type { EndpointCounters } from '../network/engine.ts'
import type { Part } from './parts.ts'

/** Buckets of a minute over an hour. */
export const lastHour = { bucket: 60_000, buckets: 60 }
/** Buckets of a second over ten. */
const lastSeconds = { bucket: 1_000, buckets: 10 }
const saveInterval = 60_000

/** The windows of a promise in one direction; absent before the first reading. */
export interface RememberedWindows {
  /** Of the last hour, as far back as it is known. */
  lastHour: RecentWindows | undefined
  /** Of the last ten seconds. */
  lastSeconds: RecentWindows | undefined
}

/** What happened to the promises of this node in the recent past. */
export interface AttainmentMemory extends Part {
  /** Takes readings of all endpoints; to be told every second. */
  record(readings: EndpointCounters[]): void
  sending(endpointId: string): RememberedWindows
  receiving(endpointId: string): RememberedWindows
  /** All windows of receiving since the endpoint was attached, but for the minute at most before an agent was killed. */
  received(endpointId: string): Windows
}

/** The file: windows of sending, as it was before there were any of receiving, and those of receiving. */
type Saved = SavedHistory & { receiving: SavedHistory }

/** Milliseconds since 1970 by a clock that nobody sets back while this process lives. */
export function steadyNow(): number {
  return performance.timeOrigin + performance.now()
}

/**
 * Makes the memory. The counters of sending are the kernel's and outlive the agent; when which of them grew is kept in
 * `file`, once a minute and not flushed, since all that a power failure can take is a minute of figures. A damaged file is
 * a new start. Windows of receiving are this agent's own, `receivedNow` tells them; the file has those before.
 */
export function createAttainmentMemory(
  file: string,
  receivedNow: (endpointId: string) => Windows,
  logger: Logger,
): AttainmentMemory {
  const sent = new Direction()
  const arrived = new Direction()
  let earlier = new Map<string, Windows>()
  const received = (id: string): Windows => {
    const [before, now] = [earlier.get(id), receivedNow(id)]
    return before ? sumOfWindows([before, now]) : now
  }
  let timer: NodeJS.Timeout | undefined
  let saving: Promise<void> = Promise.resolve()
  const save = (): void => {
    saving = saving
      .then(() => writeWhole(file, JSON.stringify({ ...sent.hour.save(), receiving: arrived.hour.save() })))
      .catch((error: unknown) => {
        logger.debug({ err: error }, 'the attainment of the last hour could not be kept')
      })
  }
  return {
    name: 'attainment memory',
    start() {
      const saved = readIfWhole<Partial<Saved>>(file)
      sent.hour.restore(saved, steadyNow())
      arrived.hour.restore(saved?.receiving, steadyNow())
      earlier = arrived.hour.totals()
      timer = setInterval(save, saveInterval)
    },
    async stop() {
      clearInterval(timer)
      save()
      await saving
    },
    record(readings) {
      sent.record(readings.map((reading) => ({ id: reading.endpointId, windows: reading.windows })))
      arrived.record(readings.map(({ endpointId: id }) => ({ id, windows: received(id) })))
      const ids = new Set(readings.map(({ endpointId }) => endpointId))
      for (const id of earlier.keys()) if (!ids.has(id)) earlier.delete(id)
    },
    sending: (endpointId) => sent.recent(endpointId),
    receiving: (endpointId) => arrived.recent(endpointId),
    received,
  }
}

class Direction {
  readonly hour = new WindowHistory(lastHour)
  readonly #seconds = new WindowHistory(lastSeconds)

  record(readings: { id: string; windows: Windows }[]): void {
    this.hour.record(steadyNow(), readings)
    this.#seconds.record(steadyNow(), readings)
  }

  recent(id: string): RememberedWindows {
    return { lastHour: this.hour.recent(id), lastSeconds: this.#seconds.recent(id) }
  }
}
