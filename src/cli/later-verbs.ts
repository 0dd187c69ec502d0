import type { Command } from 'commander'
import { InvalidInput } from '../base/index.ts'
import type { VerbHost } from '../verb/index.ts'

/** Commands of the published reference that this version does not have, with the part that brings them. */
const later: Record<string, string> = {
  'volume-group': 'volume groups',
  zone: 'zones',
  user: 'users and roles',
  feature: 'feature switches',
  namespace: 'users and roles',
  diagnosticbundle: 'diagnostics',
  passwd: 'users and roles',
}

/** Adds commands that say that they are not there yet, so that an old script is told why it fails. */
export function addLaterVerbs(program: Command, host: VerbHost): void {
  for (const [name, part] of Object.entries(later)) {
    program
      .command(name, { hidden: true })
      .description(`not in this version: comes with ${part}`)
      .argument('[anything...]')
      .allowUnknownOption()
      .action(host.run(() => notYet(name, part)))
  }
}

async function notYet(name: string, part: string): Promise<void> {
  throw new InvalidInput(`dctl ${name} is not in this version; it comes with ${part}`, {
    remedy: 'See `dctl --help` for what there is, and CHANGELOG.md for what is new.',
  })
}
