import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { Network } from '../api/index.ts'
import { InvalidInput } from '../base/index.ts'
import { explainUnused, type VerbContext, type VerbHost } from '../verb/index.ts'
import { configCandidates, readConfig, resolveConnection, type DctlConfig } from './connection.ts'
import { readGlobalOptions, type GlobalOptions } from './global-flags.ts'
import type { World } from './world.ts'

interface LoginFlags {
  tokenFile?: string
  username?: string
  password?: string
  namespace?: string
}

/** Adds `login` and `logout`. */
export function addLoginVerbs(program: Command, host: VerbHost, world: World): void {
  program
    .command('login')
    .description('keep server, authority and token for the next commands, once the server has accepted them')
    .option('--token-file <file>', 'file that holds the bearer token; - is standard input')
    .option('-u, --username <name>', 'understood, has no effect yet: there are no passwords')
    .option('-p, --password <password>', 'understood, has no effect yet: there are no passwords')
    .option('-n, --namespace <name>', 'understood, has no effect: name it with --ns where a verb takes it')
    .action(host.run<LoginFlags>((context, _names, flags, command) => login(context, world, flags, command)))
    .addHelpText('after', '\nExample:\n  $ dctl login -s 10.0.0.1 --ca-cert ca.pem --token-file token.txt\n')
  program
    .command('logout')
    .description('forget the token')
    .action(host.run((context, _names, _flags, command) => logout(context, world, command)))
    .addHelpText('after', '\nExample:\n  $ dctl logout\n')
}

async function login(context: VerbContext, world: World, flags: LoginFlags, command: Command): Promise<void> {
  const passwords = 'there are no passwords yet; sign in with --token-file.'
  explainUnused(context, flags, {
    username: `--username is understood and has no effect: ${passwords}`,
    password: `--password is understood and has no effect: ${passwords}`,
    namespace: '--namespace is understood and has no effect: name it with --ns where a verb takes it.',
  })
  const options = readGlobalOptions(command)
  const token = await readToken(world, flags.tokenFile)
  const connection = { ...resolveConnection(options, world.environment), token }
  await tryOut(world, connection)
  const caFile = options.caCert ?? readConfig(options, world.environment)?.caFile
  const file = ownConfigFile(options, world)
  writeConfig(file, { server: connection.server, ...(caFile ? { caFile: resolve(caFile) } : {}), token })
  context.print(`signed in to ${connection.server}; kept in ${file}`)
  if (options.insecure) context.note('note: -i is not kept; it has to be given each time.')
}

async function logout(context: VerbContext, world: World, command: Command): Promise<void> {
  const options = readGlobalOptions(command)
  const file = ownConfigFile(options, world)
  const { token, ...rest } = readConfig({ ...options, dctlconfig: file }, world.environment) ?? {}
  if (token === undefined) return context.note(`note: ${file} holds no token`)
  writeConfig(file, rest)
  context.print(`signed out; ${file} holds no token any more`)
}

async function readToken(world: World, file: string | undefined): Promise<string> {
  if (file === undefined) {
    throw new InvalidInput('no token was given', {
      remedy: 'Name a file that holds it with --token-file FILE, or - for standard input.',
    })
  }
  const token = (file === '-' ? await world.readInput() : readTokenFile(file)).trim()
  if (token !== '' && /^[\x21-\x7e]+$/.test(token)) return token
  throw new InvalidInput(`${file === '-' ? 'standard input' : file} holds no token`, {
    remedy: 'A token is one word of printable ASCII characters.',
  })
}

function readTokenFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new InvalidInput(`the token file ${file} cannot be read: ${(error as Error).message}`, {
      remedy: 'Check the path and that you may read it.',
      cause: error,
    })
  }
}

/** One cheap request: throws Forbidden for a wrong token and Unavailable for a wrong server. */
async function tryOut(world: World, connection: Parameters<World['connect']>[0]): Promise<void> {
  const client = await world.connect(connection)
  try {
    await client.store.list(Network, { limit: 1 })
  } finally {
    await client.close()
  }
}

function ownConfigFile(options: GlobalOptions, world: World): string {
  return options.dctlconfig ?? (world.environment.DCTL_CONFIG || configCandidates(world.environment)[0]!)
}

/** Written whole or not at all, readable by its owner only. */
function writeConfig(file: string, config: DctlConfig): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const partial = `${file}.${process.pid}.partial`
  rmSync(partial, { force: true })
  writeFileSync(partial, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(partial, file)
}
