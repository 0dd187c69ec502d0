/** Numbers that look random and are the same again for the same seed. */
export interface Random {
  readonly seed: number
  /** From 0 to 1, without 1. */
  next(): number
  /** A whole number from 0 to `limit`, without `limit`. */
  below(limit: number): number
  /** True with a probability from 0 to 1. */
  chance(probability: number): boolean
  pick<T>(choices: readonly T[]): T
  /** Another sequence that depends on this one's seed and the number only. */
  fork(number: number): Random
}

/** A sequence (mulberry32) of a seed; `$CARBONADO_SEED`, or one from the clock, unless told. */
export function seededRandom(seed = Number(process.env.CARBONADO_SEED ?? Date.now() % 1_000_000_007)): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return {
    seed,
    next,
    below,
    chance: (probability) => next() < probability,
    pick: (choices) => choices[below(choices.length)]!,
    fork: (number) => seededRandom((Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) + number * 0xc2b2ae35) >>> 0),
  }
}
