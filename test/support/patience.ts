/**
 * For `expect.poll` on rates that a promise keeps from below. Traffic is made and measured by programs that share the
 * processors with everything else that runs, so that one attempt may show less than the network gives; several show it,
 * unless the promise is not kept.
 */
export const severalAttempts = { timeout: 45_000, interval: 100 }
