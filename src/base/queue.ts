import type { Logger } from './log.ts'

/** Runs tasks that share a key one after the other, and tasks with different keys side by side. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>()

  /** Runs `task` when every earlier task with this key has ended; returns what it returns or throws. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    const result = before.then(task, task)
    const tail = result.catch(() => {})
    this.#tails.set(key, tail)
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    })
    return result
  }
}

/** What a reconcile says: finished, or look again after some milliseconds. */
export type ReconcileResult = { done: true } | { requeueAfter: number }

/**
 * Keys that each queue of control reconciles at the same time: enough to hide how long an API server takes to answer, few
 * enough that a slow one still answers what control asks beside, such as for its Lease.
 */
const reconciledAtOnce = 50

/** Settings of a WorkQueue. */
export interface WorkQueueOptions {
  /** Milliseconds before the first retry of a key that failed; doubles up to `maximumRetryDelay`. */
  retryDelay?: number
  maximumRetryDelay?: number
  /** Keys that are reconciled at the same time; the others wait in their order. No limit unless told. */
  atOnce?: number
  onError?: (key: string, error: unknown) => void
}

/**
 * A level-triggered work queue: a key added while it waits is handled once, a key added while it runs is handled
 * again afterwards, different keys run side by side, failures are retried with growing delay.
 */
export class WorkQueue {
  readonly #reconcile: (key: string) => Promise<ReconcileResult>
  readonly #options: Required<WorkQueueOptions>
  readonly #running = new Set<string>()
  readonly #waiting = new Set<string>()
  readonly #again = new Set<string>()
  readonly #failures = new Map<string, number>()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #idleWaiters: (() => void)[] = []
  #stopped = false

  constructor(reconcile: (key: string) => Promise<ReconcileResult>, options: WorkQueueOptions = {}) {
    this.#reconcile = reconcile
    this.#options = { retryDelay: 50, maximumRetryDelay: 30_000, atOnce: Infinity, onError: () => {}, ...options }
  }

  /** Asks for the key to be reconciled as soon as it is not running. */
  add(key: string): void {
    if (this.#stopped) return
    this.#clearTimer(key)
    if (this.#running.has(key)) this.#again.add(key)
    else if (this.#running.size >= this.#options.atOnce) this.#waiting.add(key)
    else void this.#run(key)
  }

  /** Asks for the key to be reconciled after a delay in milliseconds, unless it is added before. */
  addAfter(key: string, delay: number): void {
    if (this.#stopped || this.#timers.has(key)) return
    this.#timers.set(
      key,
      setTimeout(() => this.add(key), delay),
    )
  }

  /** Stops taking keys and waits for those that run. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const key of [...this.#timers.keys()]) this.#clearTimer(key)
    this.#waiting.clear()
    if (this.#running.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
  }

  #clearTimer(key: string): void {
    clearTimeout(this.#timers.get(key))
    this.#timers.delete(key)
  }

  async #run(key: string): Promise<void> {
    this.#running.add(key)
    try {
      const result = await this.#reconcile(key)
      this.#failures.delete(key)
      if ('requeueAfter' in result) this.addAfter(key, result.requeueAfter)
    } catch (error) {
      const failures = this.#failures.get(key) ?? 0
      this.#failures.set(key, failures + 1)
      this.#options.onError(key, error)
      this.addAfter(key, Math.min(this.#options.retryDelay * 2 ** failures, this.#options.maximumRetryDelay))
    }
    this.#running.delete(key)
    if (this.#again.delete(key) && !this.#stopped) this.#waiting.add(key)
    this.#runNext()
    if (this.#running.size === 0) for (const wake of this.#idleWaiters.splice(0)) wake()
  }

  #runNext(): void {
    const [next] = this.#waiting
    if (next === undefined || this.#running.size >= this.#options.atOnce) return
    this.#waiting.delete(next)
    this.add(next)
  }
}

/** Makes the queues of control: `what` could not be reconciled, the log says when it fails. */
export function controlQueues(
  logger: Logger,
): (what: string, reconcile: (key: string) => Promise<ReconcileResult>) => WorkQueue {
  return (what, reconcile) =>
    new WorkQueue(reconcile, {
      atOnce: reconciledAtOnce,
      onError: (key, err) => logger.warn({ err, key }, `${what} could not be reconciled`),
    })
}
