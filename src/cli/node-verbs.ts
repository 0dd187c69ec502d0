import type { Command } from 'commander'
import { Node, parseQuantity } from '../api/index.ts'
import { Conflict } from '../base/index.ts'
import { planeReserves } from '../guarantee/index.ts'
import { changeCurrent, labelsFlag, printChanged, printNamed, printRows } from '../verb/index.ts'
import { formatLabels, printList, type Column, type VerbContext, type VerbHost } from '../verb/index.ts'
import { checkNodes } from './node-check.ts'
import { addNodeDelete } from './node-delete.ts'
import { healthColumns, nodeColumns, uplinkColumns, type UplinkRow } from './node-columns.ts'

/** Adds `node list|get|health|network|label|check|delete`. */
export function addNodeVerbs(program: Command, host: VerbHost): void {
  const node = program.command('node').description('the servers of the cluster')
  node
    .command('list')
    .alias('ls')
    .description('list nodes')
    .option('-l, --labels <selector>', 'only those whose labels match, such as rack=a')
    .action(host.run(listNodes))
    .addHelpText('after', '\nExample:\n  $ dctl node list -o wide\n')
  node
    .command('get')
    .description('show nodes by name')
    .argument('<name...>', 'names of nodes')
    .action(host.run(nodesBy(nodeColumns)))
    .addHelpText('after', '\nExample:\n  $ dctl node get n1 -o yaml\n')
  node
    .command('health')
    .description('show heartbeats, links and how many problems each agent sees')
    .argument('[name...]', 'names of nodes; all without')
    .action(host.run(nodesBy(healthColumns)))
    .addHelpText('after', '\nExample:\n  $ dctl node health\n')
  node
    .command('network')
    .description('show the uplinks of nodes, one row for each plane')
    .argument('[name...]', 'names of nodes; all without')
    .action(host.run(showUplinks))
    .addHelpText('after', '\nExample:\n  $ dctl node network n1\n')
  node
    .command('label')
    .description('set labels with KEY=VALUE and remove them with KEY-')
    .argument('<name>', 'name of the node')
    .argument('<label...>', 'KEY=VALUE or KEY-')
    .option('-o, --overwrite', 'change labels that have another value already')
    .action(host.run(labelNode))
    .addHelpText('after', '\nExample:\n  $ dctl node label n1 rack=a -o\n')
  node
    .command('check')
    .description('ask the agents what is wrong with their nodes; exit code 1 when anything is')
    .argument('[name...]', 'names of nodes; all without')
    .action(host.run(checkNodes))
    .addHelpText('after', '\nExample:\n  $ dctl node check\n')
  addNodeDelete(node, host)
}

async function listNodes(context: VerbContext, _names: string[], { labels }: { labels?: string }): Promise<void> {
  const { items } = await (await context.store()).list(Node, { labelSelector: labels })
  await printList(context, Node, items, nodeColumns(context.now()))
}

function nodesBy(columns: (now: Date) => Column<Node>[]): (context: VerbContext, names: string[]) => Promise<void> {
  return async (context, names) => {
    const nodes = await nodesNamed(context, names)
    if (names.length > 0) await printNamed(context, Node, nodes, columns(context.now()))
    else await printList(context, Node, nodes, columns(context.now()))
  }
}

/** The named nodes, or all when none is named. */
async function nodesNamed(context: VerbContext, names: string[]): Promise<Node[]> {
  const store = await context.store()
  if (names.length === 0) return (await store.list(Node)).items
  return Promise.all(names.map((name) => store.get(Node, { name })))
}

async function showUplinks(context: VerbContext, names: string[]): Promise<void> {
  const nodes = await nodesNamed(context, names)
  await printRows(context, nodes.flatMap(uplinksOf), uplinkColumns)
}

/** The uplinks of a node with what its agent found, and as configured while it has not said. */
function uplinksOf({ metadata, spec, status }: Node): UplinkRow[] {
  const kept = planeReserves(spec, status?.agent?.uplinks)
  return (['pods', 'storage', 'management'] as const).flatMap((plane) => {
    const uplink = spec.uplinks[plane]
    if (!uplink) return []
    const found = status?.agent?.uplinks?.find((each) => each.plane === plane)
    const members = found?.members?.map(({ name, active }) => (active ? name : `(${name})`))
    return {
      node: metadata.name,
      plane,
      interface: uplink.interface,
      bondMembers: members ?? uplink.bondMembers ?? [],
      rate: found?.linkRate ?? (uplink.rate === undefined ? undefined : parseQuantity(uplink.rate)),
      mtu: found?.mtu ?? uplink.mtu,
      carrier: found?.carrier,
      kept: kept.find((each) => each.plane === plane)?.rate,
      link: found?.link,
      vlan: found?.vlan ?? uplink.vlan,
    }
  })
}

async function labelNode(
  context: VerbContext,
  [name, ...changes]: string[],
  { overwrite }: { overwrite?: boolean },
): Promise<void> {
  const wanted = labelChanges(changes)
  const store = await context.store()
  const changed = await changeCurrent(store, Node, { name: name! }, ({ metadata: { labels, resourceVersion } }) => {
    if (!overwrite) rejectOverwriting(name!, labels ?? {}, wanted)
    return store.patch(Node, { name: name! }, { metadata: { labels: wanted } }, { resourceVersion })
  })
  await printChanged(context, changed, `node ${name} has labels ${formatLabels(changed.metadata.labels) || '(none)'}`)
}

/** The merge patch of labels for `KEY=VALUE` and `KEY-` (null removes). Throws InvalidInput. */
function labelChanges(changes: string[]): Record<string, string | null> {
  const set = labelsFlag('label')
  return Object.assign(
    {},
    ...changes.map((change) => (isRemoval(change) ? { [change.slice(0, -1)]: null } : set(change))),
  )
}

function isRemoval(change: string): boolean {
  return change.endsWith('-') && !change.includes('=') && change.length > 1
}

function rejectOverwriting(name: string, labels: Record<string, string>, wanted: Record<string, string | null>): void {
  for (const [key, value] of Object.entries(wanted)) {
    if (value === null || labels[key] === undefined || labels[key] === value) continue
    throw new Conflict(`node ${name} has the label ${key}=${labels[key]} already`, {
      remedy: 'Add -o (--overwrite) to change it.',
    })
  }
}
