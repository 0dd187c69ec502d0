import { compareRounds, median } from '../statistics.ts'
import type { Group, Measurement } from '../suite.ts'
import { arrayLoads, type ArrayRound } from './array-loads.ts'
import { measuredInGuest } from './guest-lines.ts'

/** What it would cost if volumes were md arrays of one leg (docs/decisions/0173); in a virtual machine, as md is needed. */
export const arrayGroup: Group<void> = {
  rows: Object.keys(arrayLoads).map((name) => ({ name, unit: 'ratio', comparedWith: 'the thin volume without it' })),
  async measure(_place, _wanted, { progress }) {
    progress('a virtual machine measures; some minutes')
    const rounds = await measuredInGuest<ArrayRound>(`${import.meta.dirname}/arrays.guest.ts`)
    return Object.fromEntries(
      Object.keys(arrayLoads).map((name) => [name, compared(rounds.filter((round) => round.name === name))]),
    )
  },
}

function compared(rounds: ArrayRound[]): Measurement {
  const [array, bare] = [rounds.map((round) => round.array), rounds.map((round) => round.bare)]
  const { median: value, lowest, highest } = compareRounds(array, bare)
  const range = `${lowest.toFixed(2)}..${highest.toFixed(2)} in ${rounds.length} rounds`
  return { value, detail: `${range}; ${median(array).toFixed(0)} to ${median(bare).toFixed(0)} IOPS` }
}
