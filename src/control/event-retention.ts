import { Event } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import type { ResourceStore } from '../store/index.ts'

/** Events beyond this number go, the oldest first, however young they are. */
const mostEvents = 10_000

const everyMilliseconds = 5 * 60_000

/** Which events are to be removed: those not seen for `hours`, and the oldest of too many. */
export function expiredEvents(events: Event[], now: Date, hours: number, most = mostEvents): Event[] {
  const lastSeen = (event: Event): number => Date.parse(event.series?.lastObservedTime ?? event.eventTime) || 0
  const youngestFirst = events.toSorted((one, other) => lastSeen(other) - lastSeen(one))
  const limit = now.getTime() - hours * 3_600_000
  return youngestFirst.filter((event, index) => index >= most || lastSeen(event) < limit)
}

/** Removes old events now and then, so that the store does not fill up with them. */
export function startEventRetention(
  store: ResourceStore,
  { hours, logger }: { hours: number; logger: Logger },
): { stop(): Promise<void> } {
  let stopped = false
  const sweep = async (): Promise<void> => {
    const { items } = await store.list(Event)
    for (const { metadata } of expiredEvents(items, new Date(), hours)) {
      if (stopped) return
      await store.delete(Event, metadata, { uid: metadata.uid }).catch(() => {}) // gone already, or kept by a finalizer
      await new Promise((resolve) => setImmediate(resolve)) // thousands of removals must not hold up requests
    }
  }
  const run = (): Promise<void> =>
    sweep().catch((error: unknown) => logger.warn({ err: error }, 'old events could not be removed'))
  let running = run()
  const timer = setInterval(() => {
    running = running.then(run)
  }, everyMilliseconds)
  return {
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await running
    },
  }
}
