import { InvalidInput } from '../base/index.ts'
import type { World } from './world.ts'

/** The user was asked and said no. Nothing was done. */
export class Declined extends Error {}

/** Asks a yes-or-no question, unless yes was said beforehand. Throws Declined, or InvalidInput without a terminal. */
export async function confirm(
  world: Pick<World, 'ask'>,
  question: string,
  assumeYes: boolean | undefined,
): Promise<void> {
  if (assumeYes) return
  if (!world.ask) {
    throw new InvalidInput(`${question} There is no terminal to ask at.`, {
      remedy: 'Add -y (--assume-yes) to answer yes beforehand.',
    })
  }
  const answer = (await world.ask(`${question} [y/N] `)).trim().toLowerCase()
  if (answer !== 'y' && answer !== 'yes') throw new Declined('Nothing was done.')
}
