import { shareMaxMin } from './receive-allocation.ts'

/** Share of its part from which on a member is taken to want more ... */
const hungryShare = 0.8
/** ... for so many milliseconds. */
const hunger = 300
/** What a member that is not held back may grow by until it is looked at again. */
const growth = 1.3
/** Weight of the newest look in what a member is taken to use. */
const newest = 0.5

/** Somebody who has a part of a budget, and what it used since the last look, in the budget's own unit. */
export interface Member {
  id: string
  use: number
}

interface MemberState {
  use: number
  part: number | undefined
  hungryUntil: number
}

/**
 * Divides a budget among members by what they use: max-min, where a member that comes near its part is taken to want
 * everything. What nobody wants is shared equally, so that a member that begins has something at once. No part is below
 * `least`; but for that the parts add up to the budget.
 */
export class BudgetDivider {
  readonly #members = new Map<string, MemberState>()

  /** The parts by member; `now` in milliseconds of a clock that does not go back. */
  divide(now: number, budget: number, members: Member[], least: number): Map<string, number> {
    const states = members.map((member) => this.#stateOf(now, member))
    this.#forget(members)
    const wants = states.map(({ use, hungryUntil }) => (now < hungryUntil ? Infinity : use * growth))
    const shares = shareMaxMin(budget, wants)
    const spare = (budget - shares.reduce((sum, share) => sum + share, 0)) / Math.max(1, members.length)
    return new Map(
      members.map(({ id }, index) => {
        const part = Math.max(least, shares[index]! + spare)
        states[index]!.part = part
        return [id, part]
      }),
    )
  }

  #stateOf(now: number, { id, use }: Member): MemberState {
    const state = this.#members.get(id) ?? { use, part: undefined, hungryUntil: -Infinity }
    state.use = Math.max(0, state.use * (1 - newest) + use * newest)
    if (state.part !== undefined && Math.max(use, state.use) >= state.part * hungryShare) {
      state.hungryUntil = now + hunger
    }
    this.#members.set(id, state)
    return state
  }

  #forget(members: Member[]): void {
    const ids = new Set(members.map(({ id }) => id))
    for (const id of this.#members.keys()) if (!ids.has(id)) this.#members.delete(id)
  }
}
