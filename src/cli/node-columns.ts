import { formatQuantity, type Node } from '../api/index.ts'
import { formatSpace } from '../guarantee/index.ts'
import { formatAge, formatLabels, type Column } from '../verb/index.ts'

/**
 * `Ready`, `NotReady`, or `Unknown` while control has not judged the node; with `PromiseAtRisk` behind it while its
 * uplink cannot carry the floors that were promised there.
 */
function nodeState({ status }: Node): string {
  const ready = status?.ready === undefined ? 'Unknown' : status.ready.state ? 'Ready' : 'NotReady'
  return status?.promises?.state === false ? `${ready},PromiseAtRisk` : ready
}

/** A size as one word, so that a column stays one. */
function compactSpace(bytes: number): string {
  return formatSpace(bytes).replace(' ', '')
}

type Promised = { promised: number; total: number } | undefined

/** What is promised of what there is, as in `1G/36G`. */
export function promisedOf(share: Promised, format: (value: number) => string = formatQuantity): string | undefined {
  return share && `${format(share.promised)}/${format(share.total)}`
}

/** Columns of `cluster status`, one row for each node. */
export const clusterColumns: Column<Node>[] = [
  { header: 'NAME', value: ({ metadata }) => metadata.name },
  { header: 'NODE-STATUS', value: nodeState },
  { header: 'VNICS', value: ({ status }) => promisedOf(status?.capacity?.interfaces, String) },
  { header: 'BANDWIDTH', value: ({ status }) => promisedOf(status?.capacity?.bandwidth) },
  { header: 'IOPS', value: ({ status }) => promisedOf(status?.capacity?.iops) },
  { header: 'STORAGE', value: ({ status }) => promisedOf(status?.capacity?.space, compactSpace) },
  { header: 'LABELS', value: ({ metadata }) => formatLabels(metadata.labels) },
  { header: 'ZONE', value: ({ spec }) => spec.zone, wide: true },
  { header: 'AGENT-VERSION', value: ({ status }) => status?.agent?.version, wide: true },
  { header: 'PROBLEMS', value: ({ status }) => status?.agent?.problems.length, wide: true },
]

/** Columns of `node list` and `node get`. */
export function nodeColumns(now: Date): Column<Node>[] {
  return [
    { header: 'NAME', value: ({ metadata }) => metadata.name },
    { header: 'STATUS', value: nodeState },
    { header: 'UPLINK', value: ({ spec }) => spec.uplinks.pods.interface },
    { header: 'RATE', value: ({ status }) => status?.agent && formatQuantity(status.agent.linkRate) },
    { header: 'MTU', value: ({ status }) => status?.agent?.mtu },
    { header: 'VNICS', value: ({ status }) => promisedOf(status?.capacity?.interfaces, String) },
    { header: 'BANDWIDTH', value: ({ status }) => promisedOf(status?.capacity?.bandwidth) },
    { header: 'ZONE', value: ({ spec }) => spec.zone },
    { header: 'AGE', value: ({ metadata }) => formatAge(metadata.creationTimestamp, now) },
    { header: 'AGENT', value: ({ status }) => status?.agent?.address, wide: true },
    { header: 'AGENT-VERSION', value: ({ status }) => status?.agent?.version, wide: true },
    { header: 'LABELS', value: ({ metadata }) => formatLabels(metadata.labels), wide: true },
  ]
}

/** Columns of `node health`. */
export function healthColumns(now: Date): Column<Node>[] {
  return [
    { header: 'NAME', value: ({ metadata }) => metadata.name },
    { header: 'STATUS', value: nodeState },
    { header: 'SINCE', value: ({ status }) => formatAge(status?.ready?.since, now) },
    { header: 'HEARTBEAT', value: ({ status }) => formatAge(status?.agent?.heartbeat, now) },
    { header: 'CARRIER', value: ({ status }) => status?.agent && (status.agent.carrier ? 'up' : 'down') },
    { header: 'PROBLEMS', value: ({ status }) => status?.agent?.problems.length },
    { header: 'REASON', value: ({ status }) => status?.ready?.reason },
    { header: 'PROMISES', value: ({ status }) => status?.promises?.reason },
    { header: 'MESSAGE', value: messageOf, wide: true },
  ]
}

/** What is wrong, else that nothing is. */
function messageOf({ status }: Node): string | undefined {
  const wrong = [status?.ready, status?.promises].filter((verdict) => verdict?.state === false)
  const said = wrong.length > 0 ? wrong : [status?.ready]
  return said.map((verdict) => verdict?.message).join(' ') || undefined
}

/** One uplink of one node. */
export interface UplinkRow {
  node: string
  plane: string
  interface: string
  /** Members of a bond; those that carry no frames now in parentheses. */
  bondMembers: string[]
  /** Bits per second that the link gives now. */
  rate?: number
  /** Bits per second that are kept for the plane on a link that it shares with containers. */
  kept?: number
  mtu?: number
  carrier?: boolean
  /** The device that carries its frames in the end. */
  link?: string
  vlan?: number
}

/** Columns of `node network`. */
export const uplinkColumns: Column<UplinkRow>[] = [
  { header: 'NODE', value: (row) => row.node },
  { header: 'PLANE', value: (row) => row.plane },
  { header: 'INTERFACE', value: (row) => row.interface },
  { header: 'BOND-MEMBERS', value: (row) => row.bondMembers.join(',') },
  { header: 'RATE', value: (row) => (row.rate === undefined ? undefined : formatQuantity(row.rate)) },
  { header: 'MTU', value: (row) => row.mtu },
  { header: 'CARRIER', value: ({ carrier }) => (carrier === undefined ? undefined : carrier ? 'up' : 'down') },
  { header: 'KEPT', value: ({ kept }) => (kept === undefined ? undefined : formatQuantity(kept)) },
  { header: 'LINK', value: ({ link }) => link, wide: true },
  { header: 'VLAN', value: ({ vlan }) => vlan, wide: true },
]
