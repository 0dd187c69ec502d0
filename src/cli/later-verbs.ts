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

/** Verbs of the published reference that groups which are there do not have yet. */
const laterVerbs: Record<string, Record<string, string>> = {
  cluster: Object.fromEntries(
    ['create', 'add', 'remove', 'info', 'configure', 'update', 'export', 'destroy', 'etcd-add', 'etcd-remove'].map(
      (name) => [name, 'clusters that dctl sets up'],
    ),
  ),
  network: { overlay: 'overlay networks' },
  node: { inventory: 'hardware inventory', rediscover: 'hardware inventory' },
  event: { configure: 'SNMP' },
}

/** Adds commands that say that they are not there yet, so that an old script is told why it fails. */
export function addLaterVerbs(program: Command, host: VerbHost): void {
  for (const [name, part] of Object.entries(later)) addLater(program, host, name, name, part)
  for (const [group, verbs] of Object.entries(laterVerbs)) {
    const parent = program.commands.find((command) => command.name() === group)!
    for (const [name, part] of Object.entries(verbs)) {
      const isThere = parent.commands.some((command) => command.name() === name)
      if (!isThere) addLater(parent, host, name, `${group} ${name}`, part)
    }
  }
}

function addLater(parent: Command, host: VerbHost, name: string, title: string, part: string): void {
  parent
    .command(name, { hidden: true })
    .description(`not in this version: comes with ${part}`)
    .argument('[anything...]')
    .allowUnknownOption()
    .action(host.run(() => notYet(title, part)))
}

async function notYet(name: string, part: string): Promise<void> {
  throw new InvalidInput(`dctl ${name} is not in this version; it comes with ${part}`, {
    remedy: 'See `dctl --help` for what there is, and CHANGELOG.md for what is new.',
  })
}
