import { compareRounds, median } from '../statistics.ts'
import type { Group, Measurement } from '../suite.ts'
import { measuredInGuest } from './guest-lines.ts'

const names = {
  pause: 'third snapshot under load, thin volumes: longest pause of a write',
  took: 'third snapshot under load, thin volumes: time it takes',
} as const

type Costs = Record<keyof typeof names, number>

/** Pools of thin volumes need device mapper, so they are measured in a virtual machine, where all is some ten times slower. */
export const thinSnapshotGroup: Group<void> = {
  rows: Object.values(names).map((name) => {
    return { name, unit: 'ratio', comparedWith: 'the first snapshot', target: { atMost: 1.2 } }
  }),
  async measure(_place, _wanted, { progress }) {
    progress('a virtual machine measures; some minutes')
    const rounds = await measuredInGuest<[Costs, Costs, Costs]>(`${import.meta.dirname}/thin-snapshots.guest.ts`)
    return Object.fromEntries(
      (Object.keys(names) as (keyof Costs)[]).map((cost) => [names[cost], compared(rounds, cost)]),
    )
  },
}

function compared(rounds: [Costs, Costs, Costs][], cost: keyof Costs): Measurement {
  const [first, third] = [rounds.map(([each]) => each[cost]), rounds.map(([, , each]) => each[cost])]
  const { median: value, lowest, highest } = compareRounds(third, first)
  const range = `${lowest.toFixed(2)}..${highest.toFixed(2)} in ${rounds.length} rounds`
  return { value, detail: `${range}; ${median(third).toFixed(0)} ms to ${median(first).toFixed(0)} ms` }
}
