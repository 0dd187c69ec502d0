import { randomUUID } from 'node:crypto'
import { apiVersionOf, Event } from '../api/index.ts'
import type { Logger } from '../base/index.ts'
import { isNotFound } from './absent-objects.ts'
import type { ResourceStore } from './resource-store.ts'

/** Something worth telling the user about an object. */
export interface EventNotice {
  regarding: Event['regarding']
  type: Event['type']
  /** Why, in CamelCase: a stable word for machines. */
  reason: string
  /** What was being done, in CamelCase. */
  action: string
  /** For people; cut at 1024 characters. */
  note: string
}

/** Who records, as it stands in the events. */
export interface EventSource {
  controller: string
  instance: string
}

interface Remembered {
  name: string
  namespace: string
  count: number
}

const seriesMilliseconds = 10 * 60_000
const rememberedSeries = 2_000
const waitingLimit = 1_000
const noteLimit = 1_024

/**
 * Writes events in the background, in order. Never throws and never blocks: what cannot be written is logged and lost.
 * The same notice again within ten minutes becomes the `series` of the first event.
 */
export class EventRecorder {
  readonly #store: ResourceStore
  readonly #source: EventSource
  readonly #logger: Logger | undefined
  readonly #series = new Map<string, Remembered & { until: number }>()
  #waiting = 0
  #tail: Promise<void> = Promise.resolve()

  constructor(store: ResourceStore, source: EventSource, logger?: Logger) {
    this.#store = store
    this.#source = source
    this.#logger = logger
  }

  /** Takes note of an event. */
  record(notice: EventNotice): void {
    if (this.#waiting >= waitingLimit) {
      this.#logger?.warn({ reason: notice.reason }, 'an event was dropped: too many are waiting')
      return
    }
    this.#waiting += 1
    this.#tail = this.#tail.then(async () => {
      await this.#write(notice).catch((error: unknown) => {
        this.#logger?.warn({ err: error, reason: notice.reason }, 'an event could not be written')
      })
      this.#waiting -= 1
    })
  }

  /** Resolves when all events recorded so far are written or lost. */
  async flush(): Promise<void> {
    await this.#tail
  }

  async #write(notice: EventNotice): Promise<void> {
    const now = new Date()
    const key = JSON.stringify([notice.regarding, notice.type, notice.reason, notice.action, notice.note])
    const known = this.#series.get(key)
    if (known && known.until > now.getTime() && (await this.#repeat(known, now))) return
    const created = await this.#store.create(Event, this.#eventFor(notice, now))
    const { name, namespace } = created.metadata
    this.#series.delete(key)
    this.#series.set(key, { name, namespace: namespace!, count: 1, until: now.getTime() + seriesMilliseconds })
    if (this.#series.size > rememberedSeries) this.#series.delete(this.#series.keys().next().value!)
  }

  /** Counts a repetition; false when the first event is gone. */
  async #repeat(known: Remembered, now: Date): Promise<boolean> {
    const { name, namespace, count } = known
    const series = { count: count + 1, lastObservedTime: microTime(now) }
    try {
      await this.#store.patch(Event, { name, namespace }, { series })
    } catch (error) {
      if (isNotFound(error)) return false
      throw error
    }
    known.count += 1
    return true
  }

  #eventFor(notice: EventNotice, now: Date): Event {
    const { regarding, type, reason, action, note } = notice
    return {
      apiVersion: apiVersionOf(Event),
      kind: 'Event',
      metadata: { name: eventName(regarding.name), namespace: regarding.namespace ?? 'default' },
      eventTime: microTime(now),
      reportingController: this.#source.controller,
      reportingInstance: this.#source.instance,
      regarding,
      type,
      reason,
      action,
      note: note.length > noteLimit ? `${note.slice(0, noteLimit - 3)}...` : note,
    }
  }
}

function eventName(regarding: string): string {
  const stem = regarding
    .toLowerCase()
    .replaceAll(/[^-a-z0-9.]/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 200)
  return `${stem || 'event'}.${randomUUID().replaceAll('-', '').slice(0, 16)}`
}

function microTime(now: Date): string {
  return now.toISOString().replace('Z', '000Z')
}
