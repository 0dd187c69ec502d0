import { Endpoint } from '../../api/index.ts'
import { asCarbonadoError } from '../../base/index.ts'
import { formatAttainment, formatRate, type Windows } from '../../guarantee/index.ts'
import { formatAge, renderFields, renderTable, type Column, type VerbContext } from '../../verb/index.ts'
import type { LiveEndpoint, LiveNode, LiveUplink } from '../live-endpoint.ts'
import { stateOf } from './endpoint-columns.ts'
import { measuredRate } from './measured-rate.ts'
import { explainSlowness, type HeldEndpoint, type SlowVerdict } from './slow-verdict.ts'

/** Another endpoint of the same node, and what it takes now; rates in bits per second. */
export interface Competitor {
  namespace: string
  name: string
  perfTier?: string
  promised: number
  delivered: number
  sent: number
  received: number
  /** Whether it takes more than its floor, one way or the other. */
  isAboveFloor: boolean
}

/** What there is to say about an endpoint that is slow, beside the endpoint itself. */
export interface SlowReport {
  live?: LiveEndpoint
  uplink?: LiveUplink
  /** Who takes most first. */
  competitors: Competitor[]
  /** Receivers that nodes with floors to keep hold this node back from. */
  held: HeldEndpoint[]
  verdict: SlowVerdict
}

/** Asks the agent of an endpoint's node about it and its neighbours. Never throws for an agent that does not answer. */
export async function reportSlowness(context: VerbContext, endpoint: Endpoint): Promise<SlowReport> {
  const nodeName = endpoint.status?.attachment?.nodeName
  const state = stateOf(endpoint)
  if (nodeName === undefined) return { competitors: [], held: [], verdict: explainSlowness({ state }) }
  const { node, problem } = await readLiveNode(context, nodeName)
  if (!node) return { competitors: [], held: [], verdict: explainSlowness({ state, nodeName, agentProblem: problem }) }
  const live = node.endpoints.find(({ endpointId }) => endpointId === endpoint.metadata.uid)
  const { uplink } = node
  const [tiers, held] = [await tiersOn(context, nodeName), await heldEndpoints(context, node.held ?? [])]
  return {
    live,
    uplink,
    competitors: competitorsOf(endpoint.metadata.uid!, node.endpoints, tiers),
    held,
    verdict: explainSlowness({ state, nodeName, live, uplink, held }),
  }
}

async function readLiveNode(context: VerbContext, nodeName: string): Promise<{ node?: LiveNode; problem?: string }> {
  try {
    return { node: await context.readAgent<LiveNode>(nodeName, 'v1/endpoints') }
  } catch (error) {
    return { problem: asCarbonadoError(error).message }
  }
}

/** Names of the receivers that frames name by MAC and VLAN. */
async function heldEndpoints(context: VerbContext, held: LiveNode['held']): Promise<HeldEndpoint[]> {
  if (held.length === 0) return []
  const { items } = await (await context.store()).list(Endpoint)
  return held.map(({ macAddress, vlan, receivingNode, rate }) => {
    const receiver = items.find(({ status }) => {
      const allocation = status?.allocation
      return allocation?.state === 'Allocated' && allocation.macAddress === macAddress && allocation.vlan === vlan
    })
    const name = receiver ? `${receiver.metadata.namespace}/${receiver.metadata.name}` : macAddress
    return { name, nodeName: receivingNode, rate }
  })
}

async function tiersOn(context: VerbContext, nodeName: string): Promise<Map<string, string>> {
  const store = await context.store()
  const { items } = await store.list(Endpoint, { fieldSelector: `spec.nodeName=${nodeName}` })
  return new Map(
    items.flatMap(({ metadata, status }) => {
      const allocation = status?.allocation
      const tier = allocation?.state === 'Allocated' ? allocation.perfTierName : undefined
      return tier === undefined ? [] : [[metadata.uid!, tier] as const]
    }),
  )
}

/** The other endpoints of a node by what they take now, the greediest first. A pure function. */
export function competitorsOf(endpointId: string, endpoints: LiveEndpoint[], tiers: Map<string, string>): Competitor[] {
  return endpoints
    .filter((other) => other.endpointId !== endpointId)
    .map(({ endpointId: id, namespace, name, bandwidthFloor, rates: { delivered, sent, received } }) => ({
      namespace,
      name,
      ...(tiers.has(id) ? { perfTier: tiers.get(id)! } : {}),
      ...{ promised: bandwidthFloor, delivered, sent, received },
      isAboveFloor: Math.max(delivered, received) > bandwidthFloor,
    }))
    .toSorted((one, other) => takes(other) - takes(one) || one.name.localeCompare(other.name))
}

function takes({ delivered, received }: Competitor): number {
  return delivered + received
}

/** Competitors that are shown; the others take less than all of these. */
const shown = 10

/** The report as text, one part after the other. */
export function slowReportText({ live, uplink, competitors, held, verdict }: SlowReport, now: Date): string[] {
  return [
    ...(live ? [lastHourText(live, now)] : []),
    ...(uplink ? [uplinkText(uplink)] : []),
    ...(live ? [competitorsText(competitors)] : []),
    ...(held.length > 0 ? [heldText(held)] : []),
    `Why is it slow?\n  ${verdict.sentence}\n  ${verdict.advice}`,
  ]
}

function lastHourText({ lastHour, receive, bandwidthFloor }: LiveEndpoint, now: Date): string {
  const title = 'Attainment over the last hour'
  if (bandwidthFloor === 0) return `${title}\n  nothing is promised`
  if (!lastHour) return `${title}\n  not known yet`
  return `${title}\n${renderFields(
    [
      ['Sending', windowsText(lastHour)],
      ['Receiving', receive?.lastHour && windowsText(receive.lastHour)],
      ['Known for', formatAge(lastHour.since, now)],
    ],
    '  ',
  )}`
}

function windowsText(windows: Windows): string {
  const { withDemand, attained } = windows
  if (withDemand === 0) return '- (no second with demand)'
  return `${formatAttainment(windows)} (${withDemand} seconds with demand, ${attained} of them with the floor delivered)`
}

function uplinkText({ interface: device, carrier, rate, sent, received, promised }: LiveUplink): string {
  const share = (used: number): string => (rate > 0 ? ` (${Math.round((used / rate) * 100)}%)` : '')
  return `Uplink of the node\n${renderFields(
    [
      ['Interface', `${device}, ${carrier ? 'up' : 'down'}, ${rate > 0 ? formatRate(rate) : 'of unknown rate'}`],
      ['Sends', `${measuredRate(sent)}${share(sent)}`],
      ['Receives', `${measuredRate(received)}${share(received)}`],
      ['Promised', `${formatRate(promised)}${share(promised)}`],
    ],
    '  ',
  )}`
}

const competitorColumns: Column<Competitor>[] = [
  { header: 'NAME', value: ({ namespace, name }) => `${namespace}/${name}` },
  { header: 'PERF-TIER', value: ({ perfTier }) => perfTier },
  { header: 'PROMISED', value: ({ promised }) => (promised === 0 ? 'nothing' : formatRate(promised)) },
  { header: 'DELIVERED', value: ({ delivered }) => measuredRate(delivered) },
  { header: 'RECEIVES', value: ({ received }) => measuredRate(received) },
  { header: 'ABOVE-ITS-FLOOR', value: ({ isAboveFloor }) => (isAboveFloor ? 'yes' : 'no') },
]

function competitorsText(competitors: Competitor[]): string {
  const title = 'Who competes on the node'
  if (competitors.length === 0) return `${title}\n  nobody: it is alone`
  const table = renderTable(competitorColumns, competitors.slice(0, shown), { wide: false })
  const left = competitors.length - shown
  const rest = left > 0 ? `\n  and ${left} more that take less` : ''
  return `${title}, who takes most first\n${table.replaceAll(/^/gm, '  ')}${rest}`
}

function heldText(held: HeldEndpoint[]): string {
  const rows = held
    .slice(0, shown)
    .map(({ name, nodeName, rate }): [string, string] => [
      name,
      `${measuredRate(rate)} from this node, says node ${nodeName}`,
    ])
  return `Receivers that are limited, so that others on their nodes keep their floors\n${renderFields(rows, '  ')}`
}
