import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { InvalidInput } from '../base/index.ts'
import { explainUnused, isTable, printDocument, renderFields, type VerbContext, type VerbHost } from '../verb/index.ts'
import {
  configCandidates,
  findConfig,
  normalizeServer,
  readConfig,
  resolveConnection,
  type DctlConfig,
} from './connection.ts'
import { readGlobalOptions, type GlobalOptions } from './global-flags.ts'
import type { World } from './world.ts'

interface LoginFlags {
  token?: string
  tokenFile?: string
  username?: string
  password?: string
  namespace?: string
}

/** Who control takes the caller for, as kube-apiserver tells it too. */
interface SelfSubjectReview {
  status: { userInfo: { username: string; groups?: string[]; extra?: Record<string, string[]> } }
}

/** Adds `login`, `logout`, `whoami` and `config`. */
export function addLoginVerbs(program: Command, host: VerbHost, world: World): void {
  program
    .command('login')
    .description('keep server, authority and token for the next commands, once the server has accepted them')
    .option('--token-file <file>', 'file that holds the bearer token; - is standard input')
    .option('--token <token>', 'the bearer token itself; others on this machine may see it while dctl runs')
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
  program
    .command('whoami')
    .description('tell who the server takes you for, and what that role may do')
    .action(host.run((context, _names, _flags, command) => whoami(context, world, command)))
    .addHelpText('after', '\nExample:\n  $ dctl whoami\n')
  addConfigVerbs(program, host, world)
}

function addConfigVerbs(program: Command, host: VerbHost, world: World): void {
  const config = program.command('config').description('the configuration file of dctl')
  config
    .command('set-cluster')
    .description('keep server and authority for the next commands, without signing in')
    .argument('[name]', 'understood, has no effect: one file holds one cluster (--dctlconfig names another file)')
    .option('--virtual-ip <address>', 'the same as -s')
    .action(
      host.run<{ virtualIp?: string }>((context, names, flags, command) =>
        setCluster(context, world, names, flags, command),
      ),
    )
    .addHelpText('after', '\nExample:\n  $ dctl config set-cluster -s 10.0.0.1 --ca-cert ca.pem\n')
  config
    .command('view')
    .description('show the file and what it holds, without the token')
    .action(host.run((context, _names, _flags, command) => viewConfig(context, world, command)))
    .addHelpText('after', '\nExample:\n  $ dctl config view\n')
}

const rights: Record<string, string> = {
  admin: 'everything',
  operator: 'read and write everything, but not delete nodes or manage tokens',
  viewer: 'read everything',
  agent: 'read everything; write endpoints, status and events of its own node',
  provisioner: 'read everything; write volumes, snapshots and where volumes are attached',
}

async function whoami(context: VerbContext, world: World, command: Command): Promise<void> {
  const { server } = resolveConnection(readGlobalOptions(command), world.environment)
  const review = await context.request<SelfSubjectReview>('POST', reviewPath, reviewBody)
  if (!isTable(context)) return printDocument(context, review)
  const { username, groups = [], extra = {} } = review.status.userInfo
  const role = extra['carbonado.io/role']?.[0]
  context.print(
    renderFields([
      ['User', username],
      ...(role === undefined ? [] : [['Role', `${role}: ${rights[role] ?? 'unknown'}`] as [string, string]]),
      ...(extra['carbonado.io/node'] ? [['Node', extra['carbonado.io/node'].join(', ')] as [string, string]] : []),
      ['Groups', groups.join(', ')],
      ['Server', server],
    ]),
  )
}

async function setCluster(
  context: VerbContext,
  world: World,
  [name]: string[],
  { virtualIp }: { virtualIp?: string },
  command: Command,
): Promise<void> {
  const options = readGlobalOptions(command)
  const named = options.server ?? virtualIp
  if (named === undefined && options.caCert === undefined) {
    throw new InvalidInput('nothing to keep was given', {
      remedy: 'Name the server with -s HOST, its authority with --ca-cert FILE.',
    })
  }
  if (name !== undefined) context.note('note: the name is understood and has no effect: one file holds one cluster.')
  const file = ownConfigFile(options, world)
  const before = readOwnConfig(options, world) ?? {}
  const server = named === undefined ? before.server : normalizeServer(named)
  const caFile = options.caCert === undefined ? before.caFile : resolve(options.caCert)
  // a token belongs to the server that gave it
  const isSameServer = before.server !== undefined && server === normalizeServer(before.server)
  const token = isSameServer ? before.token : undefined
  writeConfig(file, { ...(server ? { server } : {}), ...(caFile ? { caFile } : {}), ...(token ? { token } : {}) })
  await printDone(context, { server, caFile, file }, `cluster ${server ?? '(no server yet)'} is kept in ${file}`)
  if (before.token !== undefined && !token)
    context.note('note: the token of the other server was dropped; sign in with `dctl login`.')
}

async function viewConfig(context: VerbContext, world: World, command: Command): Promise<void> {
  const options = readGlobalOptions(command)
  const found = findConfig(options, world.environment)
  const { token, ...rest } = found?.config ?? {}
  const shown = { file: found?.file ?? null, ...rest, token: token === undefined ? null : '(not shown)' }
  if (!isTable(context)) return printDocument(context, shown)
  context.print(
    renderFields([
      ['File', found?.file ?? `none; \`dctl login\` makes ${ownConfigFile(options, world)}`],
      ['Server', rest.server],
      ['Authority', rest.caFile],
      ['Token', token === undefined ? 'none' : 'there, not shown'],
    ]),
  )
}

/** Says what was done: a sentence for people, what is kept now for programs. */
async function printDone(context: VerbContext, kept: object, sentence: string): Promise<void> {
  if (isTable(context)) context.print(sentence)
  else await printDocument(context, kept)
}

const reviewPath = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
const reviewBody = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }

async function login(context: VerbContext, world: World, flags: LoginFlags, command: Command): Promise<void> {
  const passwords = 'there are no passwords yet; sign in with --token-file.'
  explainUnused(context, flags, {
    username: `--username is understood and has no effect: ${passwords}`,
    password: `--password is understood and has no effect: ${passwords}`,
    namespace: '--namespace is understood and has no effect: name it with --ns where a verb takes it.',
  })
  const options = readGlobalOptions(command)
  const token = await readToken(world, flags)
  const known = knownSoFar(options, world)
  const connection = { ...resolveConnection(...known), token }
  const user = await tryOut(world, connection)
  const caFile = options.caCert ?? readConfig(...known)?.caFile
  const file = ownConfigFile(options, world)
  writeConfig(file, { server: connection.server, ...(caFile ? { caFile: resolve(caFile) } : {}), token })
  await printDone(
    context,
    { server: connection.server, user, file },
    `signed in to ${connection.server} as ${user}; kept in ${file}`,
  )
  if (options.insecure) context.note('note: -i is not kept; it has to be given each time.')
}

async function logout(context: VerbContext, world: World, command: Command): Promise<void> {
  const options = readGlobalOptions(command)
  const file = ownConfigFile(options, world)
  const { token, ...rest } = readOwnConfig(options, world) ?? {}
  if (token === undefined) return context.note(`note: ${file} holds no token`)
  writeConfig(file, rest)
  await printDone(context, { ...rest, file }, `signed out; ${file} holds no token any more`)
}

async function readToken(world: World, { token: given, tokenFile: file }: LoginFlags): Promise<string> {
  if ((file === undefined) === (given === undefined)) {
    throw new InvalidInput(file === undefined ? 'no token was given' : '--token and --token-file exclude each other', {
      remedy: 'Name a file that holds it with --token-file FILE, or - for standard input.',
    })
  }
  const token = (given ?? (file === '-' ? await world.readInput() : readTokenFile(file!))).trim()
  if (token !== '' && /^[\x21-\x7e]+$/.test(token)) return token
  throw new InvalidInput(`${given !== undefined ? '--token' : file === '-' ? 'standard input' : file} holds no token`, {
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

/** Asks the server who this is: throws Forbidden for a wrong token and Unavailable for a wrong server. */
async function tryOut(world: World, connection: Parameters<World['connect']>[0]): Promise<string> {
  const client = await world.connect(connection)
  try {
    const review = await client.request<SelfSubjectReview>('POST', reviewPath, reviewBody)
    return review.status.userInfo.username
  } finally {
    await client.close()
  }
}

function ownConfigFile(options: GlobalOptions, world: World): string {
  return options.dctlconfig ?? (world.environment.DCTL_CONFIG || configCandidates(world.environment)[0]!)
}

/** Where to look for what is known: a file that is named and not there yet is one that `login` is to make. */
function knownSoFar(options: GlobalOptions, world: World): Parameters<typeof resolveConnection> {
  if (existsSync(ownConfigFile(options, world))) return [options, world.environment]
  return [
    { ...options, dctlconfig: undefined },
    { ...world.environment, DCTL_CONFIG: undefined },
  ]
}

/** What the file that `login` writes holds now; undefined when there is none yet. */
function readOwnConfig(options: GlobalOptions, world: World): DctlConfig | undefined {
  const file = ownConfigFile(options, world)
  return existsSync(file) ? readConfig({ ...options, dctlconfig: file }, world.environment) : undefined
}

/** Written whole or not at all, readable by its owner only. */
function writeConfig(file: string, config: DctlConfig): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const partial = `${file}.${process.pid}.partial`
  rmSync(partial, { force: true })
  writeFileSync(partial, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(partial, file)
}
