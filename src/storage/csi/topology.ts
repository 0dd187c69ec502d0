import { CsiError } from './csi-errors.ts'
import type { Topology, TopologyRequirement } from './csi-messages.ts'

/** The topology key: a volume is used on the node that its data is on. */
export const topologyKey = 'topology.carbonado.io/node'

/** The topology of one node. */
export function topologyOf(nodeName: string): Topology {
  return { segments: { [topologyKey]: nodeName } }
}

/** The node that a topology names; undefined when it names none. */
export function nodeOfTopology(topology: Topology | null): string | undefined {
  return topology?.segments[topologyKey]
}

/** Nodes that a volume may be on, and those of them that are best, in their order; absent: any. */
export interface WantedNodes {
  nodeNames?: string[]
  preferredNodeNames?: string[]
}

/** Reads a requirement. Throws RESOURCE_EXHAUSTED when it names only topologies that no node of ours has. */
export function wantedNodes(requirement: TopologyRequirement | null): WantedNodes {
  if (!requirement) return {}
  const [requisite, preferred] = [nodesOf(requirement.requisite), nodesOf(requirement.preferred)]
  if (requirement.requisite.length > 0 && requisite.length === 0) {
    throw new CsiError('RESOURCE_EXHAUSTED', `no accessible topology that was asked for has the key ${topologyKey}`)
  }
  return {
    ...(requisite.length > 0 ? { nodeNames: requisite } : {}),
    ...(preferred.length > 0 ? { preferredNodeNames: preferred } : {}),
  }
}

function nodesOf(topologies: Topology[]): string[] {
  return [...new Set(topologies.flatMap((each) => nodeOfTopology(each) ?? []))]
}
