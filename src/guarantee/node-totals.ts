import { parseQuantity, type Node } from '../api/index.ts'
import { nothing, promisableBandwidth, type Amounts } from './capacity.ts'

/** Link rate of the pods uplink in bits per second: as configured, else as the agent reports; undefined when unknown. */
export function linkRateOf(node: Node): number | undefined {
  const configured = node.spec.uplinks.pods.rate
  if (configured !== undefined) return parseQuantity(configured, 'uplinks.pods.rate')
  return node.status?.agent?.linkRate
}

/**
 * What can be promised on a node in all, but for its drives. While the link rate is unknown no bandwidth can. Endpoints of all planes
 * count against the pods uplink: it is the only one that endpoints are attached to so far.
 */
export function nodeTotals(node: Node): Amounts {
  return {
    ...nothing,
    bandwidth: promisableBandwidth(linkRateOf(node) ?? 0),
    interfaces: node.spec.maximumInterfaces,
  }
}
