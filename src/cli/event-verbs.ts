import type { Command } from 'commander'
import { Event } from '../api/index.ts'
import { InvalidInput } from '../base/index.ts'
import { formatAge, integerFlag, printList, type Column, type VerbContext, type VerbHost } from '../verb/index.ts'

interface EventListFlags {
  ns?: string
  node?: string
  pod?: string
  volume?: string
  source?: string
  severity?: string
  limit: number
  offset: number
}

/** Adds `event list`. */
export function addEventVerbs(program: Command, host: VerbHost): void {
  const event = program.command('event').description('what happened in the cluster')
  event
    .command('list')
    .alias('ls')
    .description('list events, the newest first')
    .option('--ns <namespace>', 'only those about objects of this namespace')
    .option('--node <name>', 'only those about this node or told by its agent')
    .option('--pod <name>', 'only those about this pod')
    .option('--volume <name>', 'only those about this volume')
    .option('--source <name>', 'only those told by this program, such as agent')
    .option('--severity <severity>', 'only Normal or only Warning')
    .option('--limit <number>', 'at most so many', integerFlag('--limit', 1, 100_000), 100)
    .option('--offset <number>', 'leave out so many of the newest', integerFlag('--offset', 0, 100_000_000), 0)
    .action(host.run(listEvents))
    .addHelpText('after', '\nExample:\n  $ dctl event list --severity Warning --limit 20\n')
}

/** When an event happened last. */
function lastTime({ eventTime, series }: Event): string {
  return series?.lastObservedTime ?? eventTime
}

function eventColumns(now: Date): Column<Event>[] {
  return [
    { header: 'LAST-SEEN', value: (event) => formatAge(lastTime(event), now) },
    { header: 'SEVERITY', value: ({ type }) => type },
    { header: 'REASON', value: ({ reason }) => reason },
    { header: 'OBJECT', value: ({ regarding: { kind, name } }) => `${kind.toLowerCase()}/${name}` },
    {
      header: 'SOURCE',
      value: ({ reportingController, reportingInstance }) => sourceText(reportingController, reportingInstance),
    },
    { header: 'COUNT', value: ({ series }) => series?.count ?? 1 },
    { header: 'MESSAGE', value: ({ note }) => note },
    { header: 'NAMESPACE', value: ({ regarding }) => regarding.namespace, wide: true },
    { header: 'TIME', value: (event) => lastTime(event), wide: true },
  ]
}

function sourceText(controller: string, instance: string): string {
  return controller === instance || instance === '' ? controller : `${controller}@${instance}`
}

async function listEvents(context: VerbContext, _names: string[], flags: EventListFlags): Promise<void> {
  const chosen = eventFilter(flags)
  const { items } = await (await context.store()).list(Event)
  const shown = items
    .filter(chosen)
    .sort((one, other) => Date.parse(lastTime(other)) - Date.parse(lastTime(one)))
    .slice(flags.offset, flags.offset + flags.limit)
  await printList(context, Event, shown, eventColumns(context.now()))
}

/** Whether an event is one that the flags ask for. Throws InvalidInput for an unknown severity. */
function eventFilter(flags: Omit<EventListFlags, 'limit' | 'offset'>): (event: Event) => boolean {
  const type = severityOf(flags.severity)
  return ({ regarding, reportingController, reportingInstance, ...event }) =>
    (type === undefined || event.type === type) &&
    (flags.ns === undefined || regarding.namespace === flags.ns) &&
    (flags.source === undefined || [reportingInstance, ...namesOf(reportingController)].includes(flags.source)) &&
    (flags.pod === undefined || (regarding.kind === 'Pod' && regarding.name === flags.pod)) &&
    (flags.volume === undefined || (regarding.kind === 'Volume' && regarding.name === flags.volume)) &&
    (flags.node === undefined ||
      reportingInstance === flags.node ||
      (regarding.kind === 'Node' && regarding.name === flags.node))
}

/** `carbonado.io/agent` is also called `agent`. */
function namesOf(controller: string): string[] {
  return [controller, controller.slice(controller.indexOf('/') + 1)]
}

function severityOf(text: string | undefined): Event['type'] | undefined {
  switch (text?.toLowerCase()) {
    case undefined:
      return undefined
    case 'normal':
    case 'info':
      return 'Normal'
    case 'warning':
    case 'critical':
    case 'error':
      return 'Warning'
    default:
      throw new InvalidInput(`--severity "${text}" is not a severity`, { remedy: 'Use Normal or Warning.' })
  }
}
