/** What is done regularly, until it is stopped. */
export interface Regular {
  stop(): void
}

/**
 * Does something every so many milliseconds until it is stopped, also while an earlier time has not ended. What it
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
  const wait = (): void => {
    const now = performance.now()
    // the multiple after the nearest one: a timer that was a little early is not set for the same time again
    timer = setTimeout(run, Math.ceil((Math.round(now / interval) + 1) * interval - now))
  }
  const run = (): void => {
    wait()
    void (async () => work())().catch(onError)
  }
  wait()
  return { stop: () => clearTimeout(timer) }
}
