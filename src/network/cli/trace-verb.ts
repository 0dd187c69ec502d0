import { isIP } from 'node:net'
import type { Command } from 'commander'
import { Node, type Endpoint } from '../../api/index.ts'
import { asCarbonadoError } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { isTable, printDocument, type VerbContext, type VerbHost } from '../../verb/index.ts'
import { formatAddress, parseAddress } from '../addresses/ip-address.ts'
import type { PathFacts, PathProbe } from '../path/path-facts.ts'
import { addressesOf, stateOf } from './endpoint-columns.ts'
import { findEnds } from './endpoint-search.ts'
import { judgePath, walkPath, type Hop, type PathEnd, type PathKnowledge, type PathVerdict } from './path-walk.ts'

interface TraceFlags {
  ns: string
  probe: boolean
}

/** Exit codes beside 0, a packet arrives: it is dropped, and (as for Unavailable) it cannot be told. */
const exitCodes = { arrives: 0, dropped: 1, unknown: 7 } as const

/** Adds `network trace`. */
export function addTraceVerb(network: Command, host: VerbHost): void {
  network
    .command('trace')
    .description('say hop by hop where a packet from A to B would be dropped, and send real frames')
    .argument('<from>', 'endpoint, by its name, that of its pod or container, or an address')
    .argument('<to>', 'the same, or an address that is no endpoint')
    .option('--ns <namespace>', 'namespace of both, unless written as NAMESPACE/NAME', 'default')
    .option('--no-probe', 'only look, send no frames')
    .action(host.run(trace))
    .addHelpText(
      'after',
      '\nExit code: 0 a packet arrives, 1 it is dropped, 7 it cannot be told.\n' +
        '\nExamples:\n  $ dctl network trace web db\n  $ dctl network trace default/web 10.30.0.1\n',
    )
}

async function trace(context: VerbContext, [a, b]: string[], { ns, probe }: TraceFlags): Promise<number> {
  const store = await context.store()
  const { from, to } = await findEnds(store, [a!, b!], ns)
  const address = isIP(b!) ? formatAddress(parseAddress(b!)) : commonAddress(a!, from, to!)
  const ends = { from: await endOf(store, a!, from), to: await endOf(store, b!, to, address) }
  const knowledge = await lookAt(context, ends, { from, to, wantsProbe: probe })
  const hops = walkPath(knowledge)
  const verdict = judgePath(knowledge, hops)
  if (isTable(context)) context.print(traceText(knowledge, hops, verdict))
  else await printDocument(context, { from: summary(knowledge.from), to: summary(knowledge.to), hops, verdict })
  return exitCodes[verdict.outcome]
}

async function endOf(
  store: ResourceStore,
  text: string,
  endpoint: Endpoint | undefined,
  address?: string,
): Promise<PathEnd> {
  if (!endpoint) return { title: text, address }
  const { allocation, attachment } = endpoint.status ?? {}
  const nodeName = attachment?.nodeName
  const node = nodeName === undefined ? undefined : await store.get(Node, { name: nodeName }).catch(() => undefined)
  return {
    title: text,
    ...(address === undefined ? {} : { address }),
    endpoint: {
      state: stateOf(endpoint),
      nodeName,
      isNodeReady: node?.status?.ready?.state ?? false,
      networkName: endpoint.spec.networkName,
      ...(allocation?.state === 'Allocated' ? { vlan: allocation.vlan } : {}),
    },
  }
}

async function lookAt(
  context: VerbContext,
  { from, to }: Pick<PathKnowledge, 'from' | 'to'>,
  asked: { from: Endpoint; to?: Endpoint; wantsProbe: boolean },
): Promise<PathKnowledge> {
  const { address } = to
  const [sending, receiving] = await Promise.all([
    readFacts(context, from, asked.from, { to: address, peer: to.endpoint?.nodeName }),
    asked.to ? readFacts(context, to, asked.to, { peer: from.endpoint?.nodeName }) : {},
  ])
  const ends = { from: { ...from, ...sending }, to: { ...to, ...receiving } }
  const noProbe = whyNoProbe(ends, asked.wantsProbe)
  if (noProbe !== undefined) return { ...ends, noProbe }
  return { ...ends, ...(await probe(context, ends, asked.from, asked.to, address!)) }
}

function whyNoProbe({ from, to }: Pick<PathKnowledge, 'from' | 'to'>, isWanted: boolean): string | undefined {
  if (!isWanted) return '--no-probe'
  if (from.isMissing) return 'its node does not have it'
  if (!from.facts) return 'the agent that would send them does not answer'
  if (to.address === undefined) return `${to.title} has no address`
  const { route, expected } = from.facts
  if (!route || 'problem' in route) return 'the container knows no way'
  return route.device === expected.interfaceName ? undefined : `it would leave by ${route.device}`
}

/** An address of the receiver in the family of the one that names the sender, else in one that the sender has too. */
function commonAddress(name: string, from: Endpoint, to: Endpoint): string | undefined {
  const families = new Set(isIP(name) ? [isIP(name)] : addressesOf(from).map((address) => isIP(address)))
  return addressesOf(to).find((address) => families.has(isIP(address))) ?? addressesOf(to)[0]
}

async function readFacts(
  context: VerbContext,
  { endpoint }: PathEnd,
  object: Endpoint,
  question: { to?: string; peer?: string },
): Promise<Pick<PathEnd, 'facts' | 'agentProblem' | 'isMissing'>> {
  if (endpoint?.nodeName === undefined) return {}
  const query = new URLSearchParams({ endpoint: object.metadata.uid! })
  for (const [name, value] of Object.entries(question)) if (value !== undefined) query.set(name, value)
  try {
    return { facts: await context.readAgent<PathFacts>(endpoint.nodeName, `v1/path?${query.toString()}`) }
  } catch (error) {
    const { code, message } = asCarbonadoError(error)
    return code === 'NotFound' ? { isMissing: true } : { agentProblem: message }
  }
}

async function probe(
  context: VerbContext,
  { from, to }: { from: PathEnd; to: PathEnd },
  sender: Endpoint,
  receiver: Endpoint | undefined,
  address: string,
): Promise<Pick<PathKnowledge, 'probe' | 'noProbe'>> {
  try {
    const body = { endpoint: sender.metadata.uid, to: address }
    const found = await context.askAgent<PathProbe>(from.endpoint!.nodeName!, 'v1/probe', body)
    if (!receiver || !to.facts) return { probe: found }
    const { facts: after } = await readFacts(context, to, receiver, {})
    const arrived = after && after.counters.receivedPackets - to.facts.counters.receivedPackets
    return { probe: { ...found, ...(arrived === undefined ? {} : { arrived }) } }
  } catch (error) {
    return { noProbe: asCarbonadoError(error).message }
  }
}

const marks: Record<Hop['outcome'], string> = { passes: 'ok', warns: 'note', drops: 'DROP', unknown: '?' }

function traceText({ from, to }: PathKnowledge, hops: Hop[], { sentence, advice }: PathVerdict): string {
  const width = Math.max(...hops.map(({ hop }) => hop.length))
  const lines = hops.flatMap(({ hop, outcome, says, advice: what }) => [
    `  ${marks[outcome].padEnd(4)}  ${hop.padEnd(width)}  ${says}`,
    ...(what !== undefined && outcome !== 'passes' ? [`        ${what}`] : []),
  ])
  const head = `from ${titleOf(from)} to ${titleOf(to)}`
  return `${head}\n${lines.join('\n')}\n\n${sentence}${advice === undefined ? '' : `\n  ${advice}`}`
}

function titleOf({ title, address, endpoint, facts }: PathEnd): string {
  const own = address ?? facts?.expected.addresses[0]
  const place = [...(own !== undefined && own !== title ? [own] : []), ...(endpoint ? [endpoint.networkName] : [])]
  return place.length === 0 ? title : `${title} (${place.join(', ')})`
}

function summary({ title, address, endpoint, agentProblem }: PathEnd): object {
  return { title, address: address ?? null, endpoint: endpoint ?? null, agentProblem: agentProblem ?? null }
}
