import { parseQuantity, type Node } from '../api/index.ts'
import { nothing, type Amounts } from './capacity.ts'
import { bandwidthForPods, planeReserves } from './planes.ts'

/**
 * Bits per second of the pods uplink as it is now: what the agent reports, but never more than is configured; 0 without
 * carrier; undefined when nobody knows.
 */
export function linkRateOf({ spec, status }: Node): number | undefined {
  const { rate } = spec.uplinks.pods
  const configured = rate === undefined ? undefined : parseQuantity(rate, 'uplinks.pods.rate')
  const { agent } = status ?? {}
  if (agent === undefined) return configured
  if (!agent.carrier) return 0
  if (agent.linkRate === 0) return configured
  return Math.min(configured ?? agent.linkRate, agent.linkRate)
}

/**
 * What can be promised on a node in all, but for its drives, and beside what is kept for its other planes on the same
 * link. While the link rate is unknown no bandwidth can. Endpoints of all networks count against the pods uplink, the
 * one that they are attached to.
 */
export function nodeTotals(node: Node): Amounts {
  const reserves = planeReserves(node.spec, node.status?.agent?.uplinks)
  return {
    ...nothing,
    bandwidth: bandwidthForPods(linkRateOf(node) ?? 0, reserves),
    interfaces: node.spec.maximumInterfaces,
  }
}
