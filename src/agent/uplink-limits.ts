import { parseQuantity, type FoundUplink, type Node } from '../api/index.ts'
import { planeReserves } from '../guarantee/index.ts'
import type { UplinkLimits } from '../network/engine.ts'
import type { NodeProblem } from './node-check.ts'

/**
 * The spec as this agent can follow it: containers send through the device that it started with until it is restarted,
 * whatever the Node names now.
 */
export function specToFollow(spec: Node['spec'], runningUplink: string): Node['spec'] {
  const pods = { ...spec.uplinks.pods, interface: runningUplink }
  return { ...spec, uplinks: { ...spec.uplinks, pods } }
}

/** What the engine has to keep to: the rate of the pods uplink, 0 while it has none, and what other planes get of it. */
export function uplinkLimits(spec: Node['spec'], found: FoundUplink[]): UplinkLimits {
  return { linkRate: podsUplink(found).linkRate, reserves: planeReserves(spec, found) }
}

/** The same for an engine that starts: without carrier what is declared has to do until there is one. */
export function initialLimits(spec: Node['spec'], found: FoundUplink[]): UplinkLimits {
  const limits = uplinkLimits(spec, found)
  const { rate } = spec.uplinks.pods
  if (limits.linkRate > 0 || rate === undefined) return limits
  return { ...limits, linkRate: parseQuantity(rate, 'uplinks.pods.rate') }
}

/** The uplink of pods; every node has one. */
export function podsUplink(found: FoundUplink[]): FoundUplink {
  return found.find(({ plane }) => plane === 'pods')!
}

/** What to say when the Node names another uplink than the one that this agent works with. */
export function otherUplinkProblem(spec: Node['spec'], runningUplink: string): NodeProblem[] {
  const wanted = spec.uplinks.pods.interface
  if (wanted === runningUplink) return []
  return [
    {
      reason: 'UplinkChanged',
      message: `spec.uplinks.pods.interface is ${wanted} now and the agent still works with ${runningUplink}`,
      remedy: 'Restart the agent on this node: containers stay attached and send through the new uplink from then on.',
    },
  ]
}
