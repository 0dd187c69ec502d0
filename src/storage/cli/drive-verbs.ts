import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import { Drive } from '../../api/index.ts'
import { Conflict, InvalidInput, NotFound, Unavailable } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { printChanged, printList, printNamed, type VerbContext, type VerbHost } from '../../verb/index.ts'
import { slotOf } from '../plex-names.ts'
import { driveColumns } from './drive-columns.ts'
import { waitFor, type Sight } from './wait.ts'

interface FormatFlags {
  node?: string
  slot?: string
  all?: boolean
  force?: boolean
  poolFormat?: string
  assumeYes?: boolean
}

/** Adds `drive list|get|format`. */
export function addDriveVerbs(program: Command, host: VerbHost): void {
  const drive = program.command('drive').description('drives of the nodes and the pools on them')
  drive
    .command('list')
    .alias('ls')
    .description('list drives with what is promised of them')
    .option('-n, --node <name>', 'only those of a node')
    .action(host.run(listDrives))
    .addHelpText(
      'after',
      '\nSPACE and IOPS: what is promised of what there is.\n\nExample:\n  $ dctl drive list -n n1 -o wide\n',
    )
  drive
    .command('get')
    .description('show drives by name, or by node and slot')
    .argument('[name...]', 'names of drives')
    .option('-n, --node <name>', 'node of the drive')
    .option('-s, --slot <slot>', 'slot of the drive on that node')
    .action(host.run(getDrives))
    .addHelpText('after', '\nExample:\n  $ dctl drive get -n n1 -s drive0 -o yaml\n')
  drive
    .command('format')
    .description('make a pool for volumes on drives; destroys what is on them')
    .argument('[name...]', 'names of drives')
    .option('-n, --node <name>', 'drives of this node')
    .option('-s, --slot <slot>', 'the drive in this slot of the node')
    .option('-a, --all', 'all drives (of the node, with -n) that are blank')
    .option('--force', 'also where there is data; what is mounted or has volumes is never touched')
    .option('--pool-format <name>', 'lvm-thin or file; the best that the node can, unless told')
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(formatDrives))
    .addHelpText('after', '\nExamples:\n  $ dctl drive format n1.drive0\n  $ dctl drive format -n n1 -a -y\n')
}

async function listDrives(context: VerbContext, _names: string[], { node }: { node?: string }): Promise<void> {
  const { items } = await (await context.store()).list(Drive, selectionOf(node))
  await printList(context, Drive, items, driveColumns(context.now()))
}

async function getDrives(context: VerbContext, names: string[], flags: FormatFlags): Promise<void> {
  const drives = await chosenDrives(await context.store(), names, flags)
  await printNamed(context, Drive, drives, driveColumns(context.now()))
}

async function formatDrives(context: VerbContext, names: string[], flags: FormatFlags): Promise<void> {
  const { poolFormat } = flags
  if (poolFormat !== undefined && poolFormat !== 'lvm-thin' && poolFormat !== 'file') {
    throw new InvalidInput(`--pool-format "${poolFormat}" is not a format of pools`, {
      remedy: 'Use lvm-thin or file.',
    })
  }
  const store = await context.store()
  const chosen = await chosenDrives(store, names, flags)
  const drives = flags.all ? chosen.filter(({ status }) => status?.agent?.state === 'Blank' || flags.force) : chosen
  if (drives.length === 0) {
    throw new NotFound('there is no blank drive to format', {
      remedy: 'See `dctl drive list -o wide` for what is on them.',
    })
  }
  for (const drive of drives) rejectData(drive, flags.force)
  const what = `drive${drives.length > 1 ? 's' : ''} ${drives.map(({ metadata }) => metadata.name).join(', ')}`
  await context.confirm(`Format ${what}? Everything there is lost.`, flags.assumeYes)
  const requests = await Promise.all(drives.map((drive) => request(store, drive, flags.force, poolFormat)))
  for (const { metadata, spec } of requests) {
    const formatted = await waitFor(context, store, Drive, metadata.name, {
      what: `drive ${metadata.name}`,
      look: (current) => sightOf(current, spec.format!.requestId),
    })
    const { calibration, message } = formatted!.status!.agent!
    if (message !== undefined) context.note(`note: drive ${metadata.name}: ${message}`)
    const measured = calibration ? `: ${calibration.readIops} read and ${calibration.writeIops} write IOPS` : ''
    await printChanged(context, formatted!, `drive ${metadata.name} formatted${measured}`)
  }
}

/** Refuses here what the agent would refuse, with the whole list and before anybody is asked. */
function rejectData({ metadata: { name }, status }: Drive, force: boolean | undefined): void {
  const { found = [], pool, state } = status?.agent ?? {}
  if (force || (state !== 'Foreign' && !pool && found.length === 0)) return
  const list = pool ? [`a pool of Carbonado (${pool.id})`, ...found] : found
  throw new Conflict(`drive ${name} has data on it: ${list.join('; ') || 'it is in use'}`, {
    remedy: 'Look whether that may go. --force formats the drive all the same.',
  })
}

function request(
  store: ResourceStore,
  { metadata: { name } }: Drive,
  force: boolean | undefined,
  poolFormat: 'lvm-thin' | 'file' | undefined,
): Promise<Drive> {
  const format = { requestId: randomUUID(), force: force ?? null, poolFormat: poolFormat ?? null }
  return store.patch(Drive, { name }, { spec: { format } })
}

function sightOf({ status, metadata: { name } }: Drive, requestId: string): Sight {
  const { agent } = status ?? {}
  if (agent?.state === 'Missing') {
    return { problem: new NotFound(`drive ${name} is missing: ${agent.message}`, { remedy: 'Plug it in again.' }) }
  }
  if (agent?.refused?.requestId === requestId) {
    const { message } = agent.refused
    return { problem: new Conflict(`drive ${name} was not formatted: ${message}`, { remedy: 'See `dctl drive get`.' }) }
  }
  if (agent?.requestId !== requestId) return { at: 'waiting for the agent of its node' }
  if (agent.state === 'Ready') return { done: true }
  if (agent.state === 'Failed') {
    const remedy = 'See the log of the agent of its node.'
    return { problem: new Unavailable(`drive ${name} is not usable: ${agent.message}`, { remedy }) }
  }
  return { at: agent.message ?? agent.state }
}

async function chosenDrives(store: ResourceStore, names: string[], { node, slot, all }: FormatFlags): Promise<Drive[]> {
  if (names.length > 0) return Promise.all(names.map((name) => store.get(Drive, { name })))
  if (slot === undefined && !all && node === undefined) {
    throw new InvalidInput('no drive was named', { remedy: 'Name drives, or give -n NODE with -s SLOT or -a.' })
  }
  if (slot !== undefined && node === undefined) {
    throw new InvalidInput('a slot needs the node it is on', { remedy: 'Add -n NODE.' })
  }
  const { items } = await store.list(Drive, selectionOf(node))
  const found = items.filter(({ spec }) => slot === undefined || slotOf(spec.device) === slot)
  if (found.length > 0) return found
  const where = node === undefined ? 'in the cluster' : `on node ${node}`
  throw new NotFound(`there is no drive${slot === undefined ? '' : ` ${slot}`} ${where}`, {
    remedy: 'See `dctl drive list`.',
  })
}

function selectionOf(node: string | undefined): { fieldSelector?: string } {
  return node === undefined ? {} : { fieldSelector: `spec.nodeName=${node}` }
}
