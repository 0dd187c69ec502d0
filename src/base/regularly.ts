/**
 * Does something every so many milliseconds until the timer is cleared, also while an earlier time has not ended. What it
 * throws goes to `onError`, and the next time comes all the same: a program that serves others does not end because it
 * could not look once.
 */
export function regularly(
  work: () => void | Promise<void>,
  interval: number,
  onError: (error: unknown) => void,
): NodeJS.Timeout {
  return setInterval(() => void (async () => work())().catch(onError), interval)
}
