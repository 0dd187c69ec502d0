import { formatQuantity, type Node } from '../api/index.ts'
import { formatAge, formatLabels, type Column } from '../verb/index.ts'

/** `Ready`, `NotReady`, or `Unknown` while control has not judged the node. */
export function nodeState({ status }: Node): string {
  if (!status?.ready) return 'Unknown'
  return status.ready.state ? 'Ready' : 'NotReady'
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
    { header: 'MESSAGE', value: ({ status }) => status?.ready?.message, wide: true },
  ]
}

/** One uplink of one node. */
export interface UplinkRow {
  node: string
  plane: string
  interface: string
  bondMembers: string[]
  /** Bits per second. */
  rate?: number
  mtu?: number
  carrier?: boolean
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
]
