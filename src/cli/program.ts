import { Command, CommanderError } from 'commander'
import { addEndpointVerbs, addNetworkVerbs, addPerfTierVerbs } from '../network/cli/index.ts'
import { addDriveVerbs, addSnapshotGroupVerbs, addSnapshotVerbs, addVolumeVerbs } from '../storage/cli/index.ts'
import { addClusterVerbs } from './cluster-verbs.ts'
import { addCompletionVerbs } from './completion-verbs.ts'
import { errorText } from './error-text.ts'
import { addEventVerbs } from './event-verbs.ts'
import { exitCodeOf } from './exit-code.ts'
import { addGlobalFlags, readGlobalOptions } from './global-flags.ts'
import { addLaterVerbs } from './later-verbs.ts'
import { addLoginVerbs } from './login-verbs.ts'
import { addNodeVerbs } from './node-verbs.ts'
import { VerbSession } from './session.ts'
import { addTokenVerbs } from './token-verbs.ts'
import { version } from './version.ts'
import type { World } from './world.ts'

/** Adds verbs that are not known when the program is built, such as the lab's. */
export type AddVerbs = (program: Command) => void

/** Runs one command line (without the program's name) and returns the exit code. Never throws. */
export async function runDctl(args: string[], world: World, addMore?: AddVerbs): Promise<number> {
  const session = new VerbSession(world)
  const program = buildProgram(session, world, addMore)
  try {
    await program.parseAsync(args, { from: 'user' })
    return session.exitCode
  } catch (error) {
    // commander has written what it has to say about its own errors
    if (!(error instanceof CommanderError)) {
      world.writeError(`${errorText(error, { debug: wantsDebug(program, args) })}\n`)
    }
    return exitCodeOf(error)
  }
}

/** The whole command tree of dctl. */
export function buildProgram(session: VerbSession, world: World, addMore?: AddVerbs): Command {
  const program = new Command('dctl')
    .description('Administers Carbonado: networks, endpoints and performance tiers of a cluster.')
    .version(version, '--version', 'print the version')
    .helpCommand(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => world.write(text),
      writeErr: (text) => world.writeError(text),
      outputError: (text, write) => write(text.replace(/^error:/, 'dctl:')),
    })
  addClusterVerbs(program, session)
  addNodeVerbs(program, session)
  addNetworkVerbs(program, session)
  addEndpointVerbs(program, session)
  addPerfTierVerbs(program, session)
  addDriveVerbs(program, session)
  addVolumeVerbs(program, session)
  addSnapshotVerbs(program, session)
  addSnapshotGroupVerbs(program, session)
  addEventVerbs(program, session)
  addLoginVerbs(program, session, world)
  addTokenVerbs(program, session)
  addCompletionVerbs(program, session, world)
  addLaterVerbs(program, session)
  if (addMore) addMore(program)
  else program.command('lab').description('virtual nodes on this machine, to try and to develop (`dctl lab --help`)')
  addGlobalFlags(program)
  inheritSettings(program)
  program.addHelpText('after', '\nExample:\n  $ dctl network list -o wide\n')
  return program
}

/** Verbs made elsewhere do not inherit by themselves how errors and output are handled. */
function inheritSettings(command: Command): void {
  for (const child of command.commands) {
    child.copyInheritedSettings(command)
    inheritSettings(child)
  }
}

function wantsDebug(program: Command, args: string[]): boolean {
  return readGlobalOptions(program).debug ?? args.includes('--debug')
}
