import { mkdirSync, readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from '../base/index.ts'
import { WindowHistory, type RecentWindows, type WindowReading } from '../guarantee/index.ts'
import type { EndpointCounters } from '../network/engine.ts'
import type { Part } from './parts.ts'

/** Buckets of a minute over an hour, and of a second over ten. */
const lastHour = { bucket: 60_000, buckets: 60 }
const lastSeconds = { bucket: 1_000, buckets: 10 }
const saveInterval = 60_000

/** What happened to the promises of this node in the recent past. */
export interface AttainmentMemory extends Part {
  /** Takes readings of all endpoints; to be told every second. */
  record(readings: EndpointCounters[]): void
  /** Windows of the last hour, as far back as it is known; undefined before the first reading. */
  lastHour(endpointId: string): RecentWindows | undefined
  /** Windows of the last ten seconds. */
  lastSeconds(endpointId: string): RecentWindows | undefined
}

/** Milliseconds since 1970 by a clock that nobody sets back while this process lives. */
function steadyNow(): number {
  return performance.timeOrigin + performance.now()
}

/**
 * Makes the memory. The counters are the kernel's and outlive the agent; when which of them grew is kept in `file`, once
 * a minute and not flushed, since all that a power failure can take is a minute of figures. A damaged file is a new start.
 */
export function createAttainmentMemory(file: string, logger: Logger): AttainmentMemory {
  const hour = new WindowHistory(lastHour)
  const seconds = new WindowHistory(lastSeconds)
  let timer: NodeJS.Timeout | undefined
  let saving: Promise<void> = Promise.resolve()
  const save = (): void => {
    saving = saving
      .then(() => writeWhole(file, JSON.stringify(hour.save())))
      .catch((error: unknown) => {
        logger.debug({ err: error }, 'the attainment of the last hour could not be kept')
      })
  }
  return {
    name: 'attainment memory',
    start() {
      hour.restore(readIfWhole(file), steadyNow())
      timer = setInterval(save, saveInterval)
    },
    async stop() {
      clearInterval(timer)
      save()
      await saving
    },
    record(readings) {
      const windows: WindowReading[] = readings.map((reading) => ({ id: reading.endpointId, windows: reading.windows }))
      hour.record(steadyNow(), windows)
      seconds.record(steadyNow(), windows)
    },
    lastHour: (endpointId) => hour.recent(endpointId),
    lastSeconds: (endpointId) => seconds.recent(endpointId),
  }
}

async function writeWhole(file: string, text: string): Promise<void> {
  mkdirSync(dirname(file), { recursive: true })
  await writeFile(`${file}.new`, text, { mode: 0o600 })
  await rename(`${file}.new`, file)
}

function readIfWhole(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}
