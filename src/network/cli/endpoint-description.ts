import type { Endpoint } from '../../api/index.ts'
import { formatAttainment, formatRate, type Windows } from '../../guarantee/index.ts'
import { formatAge, formatLabels, renderFields } from '../../verb/index.ts'
import { dropReasons, type DropReason } from '../engine.ts'
import { addressesOf, endpointColumns, gatewaysOf, stateOf, type EndpointRow } from './endpoint-columns.ts'
import type { LiveEndpoint } from '../live-endpoint.ts'
import { totalDrops } from './live-endpoints.ts'
import { measuredRate } from './measured-rate.ts'

/** The text of `endpoint describe`. */
export function describeEndpoint(row: EndpointRow, now: Date): string {
  const parts = [renderFields(identity(row, now)), ...refusal(row.endpoint), ...wrong(row.endpoint), bandwidth(row)]
  if (row.live) parts.push(traffic(row.live), drops(row.live))
  return parts.join('\n\n')
}

function identity(row: EndpointRow, now: Date): [string, string | number | undefined][] {
  const { endpoint } = row
  const { metadata, spec, status } = endpoint
  const holder = spec.holder
  return [
    ['Name', metadata.name],
    ['Namespace', metadata.namespace],
    ['Labels', formatLabels(metadata.labels)],
    ['State', stateOf(endpoint)],
    ['Kind', spec.isStatic ? 'static: keeps its addresses and MAC when no container holds it' : 'dynamic'],
    ['Network', spec.networkName],
    ['VLAN', cellOf(row, 'VLAN') ?? 'untagged'],
    ['Addresses', addressesOf(endpoint).join(', ')],
    ['Gateways', gatewaysOf(row).join(', ')],
    ['MAC', cellOf(row, 'MAC')],
    ['Node', spec.nodeName],
    ['Container', holder && `${holder.containerId} (interface ${holder.interfaceName})`],
    ['Pod', holder?.pod && `${holder.pod.namespace}/${holder.pod.name}`],
    ...family(row),
    ['Host interface', status?.attachment?.hostInterface],
    ['Attached for', formatAge(status?.attachment?.since, now)],
    ['Age', formatAge(metadata.creationTimestamp, now)],
  ]
}

/** What comes and goes together with it: of a child its primary, of a primary its children. */
function family({ endpoint, siblings = [] }: EndpointRow): [string, string][] {
  const { holder } = endpoint.spec
  const title = ({ metadata, spec }: Endpoint): string => `${spec.holder!.interfaceName} (endpoint ${metadata.name})`
  const ownName = holder?.interfaceName
  const primary = siblings.find(({ spec }) => spec.holder!.interfaceName === holder?.primaryInterface)
  const children = siblings.filter(({ spec }) => ownName !== undefined && spec.holder!.primaryInterface === ownName)
  return [
    ...(holder?.primaryInterface
      ? [['Comes with', primary ? title(primary) : holder.primaryInterface] as [string, string]]
      : []),
    ...(children.length > 0 ? [['Children', children.map(title).sort().join(', ')] as [string, string]] : []),
  ]
}

function cellOf(row: EndpointRow, header: string): string | number | undefined {
  return endpointColumns.find((column) => column.header === header)!.value(row)
}

function refusal({ status }: Endpoint): string[] {
  const allocation = status?.allocation
  if (allocation?.state !== 'Refused') return []
  return [`Refused: ${allocation.message}${allocation.remedy ? `\n  ${allocation.remedy}` : ''}`]
}

/** Conditions that are not as they should be. */
function wrong({ status }: Endpoint): string[] {
  const problems = (status?.conditions ?? []).filter((condition) => condition.status === 'False')
  return problems.map(({ reason, message }) => `${reason}: ${message}`)
}

function bandwidth(row: EndpointRow): string {
  const { endpoint, live } = row
  const allocation = endpoint.status?.allocation
  const given = allocation?.state === 'Allocated' ? allocation : undefined
  const floor = live?.bandwidthFloor ?? given?.bandwidthFloor
  const cap = live ? live.bandwidthCap : given?.bandwidthCap
  const fields: [string, string | number | undefined][] = [
    ['Tier', cellOf(row, 'PERF-TIER')],
    ['Promised', floor === undefined ? undefined : floor === 0 ? 'best effort' : `${formatRate(floor)} each way`],
    ['Cap', cap === undefined ? 'none' : `${formatRate(cap)} each way`],
    ['Delivered', live && `${measuredRate(live.rates.delivered)} in the last second`],
    ['Attainment', live && attainmentText(live.windows)],
    ['Received', live && `${measuredRate(live.rates.received)} in the last second`],
    ['Receive attainment', live?.receive && attainmentText(live.receive.windows)],
  ]
  return `Bandwidth\n${renderFields(fields, '  ')}`
}

function attainmentText(windows: Windows): string {
  if (windows.withDemand === 0) return '- (no one-second window with demand yet)'
  return `${formatAttainment(windows)} (${windows.attained} of ${windows.withDemand} one-second windows with demand)`
}

function traffic(live: LiveEndpoint): string {
  const line = (packets: number, bytes: number, rate: number): string =>
    `${packets} packets, ${bytes} bytes, ${measuredRate(rate)} in the last second`
  return `Traffic\n${renderFields(
    [
      ['Sent', line(live.sentPackets, live.sentBytes, live.rates.sent)],
      ['Received', line(live.receivedPackets, live.receivedBytes, live.rates.received)],
    ],
    '  ',
  )}`
}

/** Only reasons for which there were any: a column of zeros hides the one that matters. */
function drops(live: LiveEndpoint): string {
  const total = totalDrops(live)
  if (total === 0) return 'Drops (packets): none'
  const now = (reason: DropReason): string => {
    const rate = live.rates.drops?.[reason]
    return rate === undefined ? '' : `, ${rate} a second now`
  }
  const fields = dropReasons
    .filter((reason) => live.drops[reason] > 0)
    .map((reason): [string, string] => [reason, `${live.drops[reason]}${now(reason)}`])
  return `Drops (packets): ${total}\n${renderFields(fields, '  ')}`
}
