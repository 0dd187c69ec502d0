import type { Command } from 'commander'
import { InvalidInput } from '../base/index.ts'
import {
  formatAge,
  isTable,
  lifetimeFlag,
  printDocument,
  renderTable,
  type Column,
  type VerbContext,
  type VerbHost,
} from '../verb/index.ts'

/** A token as control shows it; `status.token` only in the answer to its creation. */
interface Token {
  metadata: { name: string; creationTimestamp?: string }
  spec: { user: string; role: string; nodeName?: string }
  status: { source: string; expirationTimestamp?: string; token?: string }
}

interface TokenCreateFlags {
  role: string
  user?: string
  node?: string
  ttl?: number
}

const path = '/apis/carbonado.io/v1alpha1/tokens'

/** Adds `token create|list|delete`. */
export function addTokenVerbs(program: Command, host: VerbHost): void {
  const token = program.command('token').description('tokens by which people, scripts and agents sign in')
  token
    .command('create')
    .description('make a token; it is shown once and only its hash is kept')
    .argument('[name]', 'name of the token, to delete it by; one is chosen without it')
    .requiredOption('--role <role>', 'admin, operator, viewer, agent or provisioner')
    .option('-u, --user <name>', 'who it stands for; the name of the token without it')
    .option('-n, --node <name>', 'node of an agent: all that its token may write is on this node')
    .option('--ttl <time>', 'how long it is valid, such as 12h or 90d; until deleted without it', lifetimeFlag('--ttl'))
    .action(host.run(createToken))
    .addHelpText(
      'after',
      '\nExamples:\n  $ dctl token create ann --role operator --ttl 90d > ann.token\n' +
        '  $ dctl token create --role agent -n n1 > control-token\n',
    )
  token
    .command('list')
    .alias('ls')
    .description('list tokens: whose they are and until when, never the tokens themselves')
    .action(host.run(listTokens))
    .addHelpText('after', '\nExample:\n  $ dctl token list\n')
  token
    .command('delete')
    .description('delete tokens: from then on they prove nothing')
    .argument('<name...>', 'names of tokens')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteTokens))
    .addHelpText('after', '\nExample:\n  $ dctl token delete ann -y\n')
}

function tokenColumns(now: Date): Column<Token>[] {
  return [
    { header: 'NAME', value: ({ metadata }) => metadata.name },
    { header: 'USER', value: ({ spec }) => spec.user },
    { header: 'ROLE', value: ({ spec }) => spec.role },
    { header: 'NODE', value: ({ spec }) => spec.nodeName },
    { header: 'SOURCE', value: ({ status }) => status.source },
    { header: 'EXPIRES', value: ({ status }) => expiryOf(status.expirationTimestamp, now) },
    { header: 'AGE', value: ({ metadata }) => formatAge(metadata.creationTimestamp, now) },
  ]
}

function expiryOf(expires: string | undefined, now: Date): string {
  if (expires === undefined) return 'never'
  return Date.parse(expires) <= now.getTime() ? 'expired' : `in ${formatAge(now.toISOString(), new Date(expires))}`
}

async function createToken(context: VerbContext, [name]: string[], flags: TokenCreateFlags): Promise<void> {
  const { role, user, node: nodeName, ttl: expirationSeconds } = flags
  if (role === 'agent' && nodeName === undefined) {
    throw new InvalidInput('the token of an agent needs the node that it is for', { remedy: 'Add -n NODE.' })
  }
  const owner = user ?? (role === 'agent' ? undefined : name)
  const created = await context.request<Token>('POST', path, {
    metadata: { name },
    spec: { role, user: owner, nodeName, expirationSeconds },
  })
  if (!isTable(context)) return printDocument(context, created)
  const until = created.status.expirationTimestamp
  context.note(
    `note: token ${created.metadata.name} for ${created.spec.user} (${role}), valid ${until ? `until ${until}` : 'until it is deleted'}. ` +
      'It is shown only now:',
  )
  context.print(created.status.token!)
}

async function listTokens(context: VerbContext): Promise<void> {
  const list = await context.request<{ items: Token[] }>('GET', path)
  if (!isTable(context)) return printDocument(context, list)
  context.print(renderTable(tokenColumns(context.now()), list.items, { wide: context.output === 'wide' }))
}

async function deleteTokens(context: VerbContext, names: string[], flags: { assumeYes?: boolean }): Promise<void> {
  await context.confirm(`Delete token${names.length > 1 ? 's' : ''} ${names.join(', ')}?`, flags.assumeYes)
  for (const name of names) {
    const deleted = await context.request<Token>('DELETE', `${path}/${encodeURIComponent(name)}`)
    if (isTable(context)) context.print(`token ${name} deleted`)
    else await printDocument(context, deleted)
  }
}
