import { asCarbonadoError } from '../../src/base/index.ts'
import { places, takeLabDown } from '../index.ts'
import { Narrator } from './narration.ts'

/**
 * Runs a demo to its end and exits: with 0 when everything that was checked held, with 1 when something did not, with 2
 * when it could not go on, with 130 when it was interrupted, and the lab is gone.
 */
export async function runDemo(demo: (narrator: Narrator) => Promise<void>): Promise<never> {
  let interruption: Promise<never> | undefined
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void (interruption ??= endInterrupted()))
  }
  const narrator = new Narrator()
  try {
    await demo(narrator)
  } catch (thrown) {
    if (interruption) return interruption // what fails while the lab is removed is no news
    const error = asCarbonadoError(thrown)
    process.stderr.write(`The demo could not go on: ${error.message}\n${error.remedy ?? ''}\n`)
    process.stderr.write(`Logs: ${places.logs}. Remove what is left with: make demo-down\n`)
    process.exit(2)
  }
  if (interruption) return interruption
  process.exit(narrator.broken.length === 0 ? 0 : 1) // servers that were started in containers go on with them
}

/** Says whether all of it held, and what did not. */
export function sayOutcome(narrator: Narrator, allHeld: string, thisDidNot: string, took: string): void {
  const { broken } = narrator
  narrator.say(broken.length === 0 ? `\n${allHeld} (${took})` : `\n${thisDidNot} (${took}):`)
  for (const text of broken) narrator.say(`  - ${text}`)
}

async function endInterrupted(): Promise<never> {
  process.stdout.write('\nInterrupted; removing the lab.\n')
  await takeLabDown({ onProgress: (step) => process.stdout.write(`${step}\n`) })
  process.exit(130)
}
