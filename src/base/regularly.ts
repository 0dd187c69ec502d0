/** What is done regularly, until it is stopped. */
export interface Regular {
  /** Resolves when what is under way has ended. */
  stop(): Promise<void>
}

/**
 * Milliseconds until a multiple of the interval on the clock of the process: the one after the nearest, since a timer that
 * was a little early must not be set for the same time again.
 */
export function untilNext(interval: number): number {
  const now = performance.now()
  return Math.ceil((Math.round(now / interval) + 1) * interval - now)
}

/**
 * Does something every so many milliseconds until it is stopped, but not while an earlier time has not ended. What it
 * throws goes to `onError`, and the next time comes all the same: a program that serves others does not end because it
 * could not look once.
 *
 * The times are the multiples of the interval on the clock of the process, so that what is done every half second, every
 * second and every two is done in one wake-up: with little to do, waking up is most of what an idle program costs.
 */
export function regularly(
  work: () => void | Promise<void>,
  interval: number,
  onError: (error: unknown) => void,
): Regular {
  let timer: NodeJS.Timeout
  let running: Promise<void> | undefined
  const run = (): void => {
    timer = setTimeout(run, untilNext(interval))
    running ??= (async () => work())()
      .catch(onError)
      .finally(() => (running = undefined))
  }
  timer = setTimeout(run, untilNext(interval))
  return {
    async stop() {
      clearTimeout(timer)
      await running
    },
  }
}
