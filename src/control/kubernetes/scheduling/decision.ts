import type { Drive, Network, Node } from '../../../api/index.ts'
import { describeShortfall, fit, nodeTotals, nothing } from '../../../guarantee/index.ts'
import type { NetworkDemand, PodShare } from '../../../network/pods/index.ts'
import { driveShareLeft, volumeProblems, type VolumeDemand } from '../../../storage/pods/index.ts'

/** What a pod needs, looked up. */
export interface PodDemand {
  network: NetworkDemand
  /** The networks that its interfaces are in. */
  networks: Network[]
  /** Addresses that a network has left, and in all, where the pod needs new ones. */
  addresses: Record<string, { left: number; total: number }>
  volumes: VolumeDemand[]
}

/** What is known of a node. */
export interface NodeFacts {
  node: Node
  drives: Drive[]
  /** What its pods may still request of what they may request in all; absent: the scheduler has seen to that. */
  share?: { left: PodShare; total: PodShare }
}

/** Whether a pod can be on a node. `isFinal`: not even when other pods go. */
export type Verdict = { fits: true } | { fits: false; reasons: string[]; isFinal: boolean }

/** The highest score of a node. */
const bestScore = 10

/** Says whether a pod can be on a node, and if not why, with numbers; a pure function. */
export function judgeNode(demand: PodDemand, { node, drives, share }: NodeFacts): Verdict {
  const final = [...healthProblems(demand, node), ...zoneProblems(demand, node), ...copyProblems(demand, node)]
  const others = [
    ...shareProblems(demand, node, share),
    ...addressProblems(demand),
    ...driveProblems(demand, node, drives),
  ]
  const reasons = [...final, ...others]
  return reasons.length === 0 ? { fits: true } : { fits: false, reasons, isFinal: final.length > 0 }
}

function healthProblems({ network }: PodDemand, { spec, status }: Node): string[] {
  if (network.interfaces === 0) return []
  if (status?.ready?.state === false) return [status.ready.message.replace(/\.$/, '')]
  const isDown = network.bandwidth > 0 && status?.agent?.carrier === false
  return isDown ? [`the uplink ${spec.uplinks.pods.interface} has no carrier`] : []
}

function zoneProblems({ networks }: PodDemand, { spec }: Node): string[] {
  return networks
    .filter((network) => network.spec.zone !== undefined && network.spec.zone !== spec.zone)
    .map(
      ({ metadata, spec: { zone } }) =>
        `network ${metadata.name} is in zone ${zone}, the node in ${spec.zone ?? 'none'}`,
    )
}

function copyProblems({ volumes }: PodDemand, node: Node): string[] {
  return volumeProblems(
    volumes.filter(({ kind }) => kind === 'existing'),
    node,
    [],
  )
}

function driveProblems({ volumes }: PodDemand, node: Node, drives: Drive[]): string[] {
  return volumeProblems(
    volumes.filter(({ kind }) => kind === 'new'),
    node,
    drives,
  )
}

function shareProblems({ network }: PodDemand, { metadata }: Node, share: NodeFacts['share']): string[] {
  if (!share) return []
  const { left, total } = share
  const promised = { interfaces: total.interfaces - left.interfaces, bandwidth: total.bandwidth - left.bandwidth }
  const { interfaces, bandwidth } = network
  const result = fit(
    { ...nothing, interfaces, bandwidth },
    { total: { ...nothing, ...total }, promised: { ...nothing, ...promised } },
  )
  return result.fits ? [] : result.shortfalls.map((each) => describeShortfall(each, `node ${metadata.name}`))
}

function addressProblems({ network, addresses }: PodDemand): string[] {
  return Object.entries(network.newAddresses).flatMap(([name, needed]) => {
    const { left, total } = addresses[name] ?? { left: needed, total: needed }
    if (needed <= left) return []
    return [`network ${name}: needs ${needed} address${needed === 1 ? '' : 'es'}, has ${left} of ${total} left`]
  })
}

/**
 * How good a node that fits is for a pod, 0 to 10: where most is left of whatever it takes. A pod that is promised
 * nothing does not care, and leaves the choice to the scheduler.
 */
export function scoreNode({ network, volumes }: PodDemand, { node, drives }: NodeFacts): number {
  const total = nodeTotals(node)
  const { bandwidth } = node.status?.capacity ?? {}
  const isPromised = network.bandwidth > 0
  const bandwidthLeft = isPromised && bandwidth && total.bandwidth > 0 ? 1 - bandwidth.promised / total.bandwidth : 1
  const share = Math.min(bandwidthLeft, driveShareLeft(volumes, drives))
  return Math.round(bestScore * Math.max(0, Math.min(1, share)))
}

const nodesNamed = 8

/**
 * Why a pod has no node, in one text: each reason once, with the nodes that it is about. Undefined when some node would
 * take it as far as Carbonado is concerned.
 */
export function whyNowhere(demand: PodDemand, facts: NodeFacts[]): string | undefined {
  const nodesOf = new Map<string, string[]>()
  for (const each of facts) {
    const verdict = judgeNode(demand, each)
    if (verdict.fits) return undefined
    const { name } = each.node.metadata
    const reason = verdict.reasons.join('; ').replaceAll(` node ${name} `, ' it ')
    nodesOf.set(reason, [...(nodesOf.get(reason) ?? []), name])
  }
  if (nodesOf.size === 0) return undefined
  return [...nodesOf].map(([reason, names]) => `${describeNodes(names)}: ${reason}`).join('. ')
}

function describeNodes(names: string[]): string {
  if (names.length === 1) return `node ${names[0]}`
  const shown = names.slice(0, nodesNamed).join(', ')
  return `nodes ${shown}${names.length > nodesNamed ? ` and ${names.length - nodesNamed} more` : ''}`
}
