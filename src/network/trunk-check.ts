import type { Network, Node } from '../api/index.ts'

/** Milliseconds between the probes that every node sends on every VLAN. */
export const probeInterval = 5_000
/** A VLAN is judged by probes only when both nodes and the network have been there for so long, in milliseconds. */
const patience = 3 * probeInterval

/** A VLAN that does not reach this node from others. */
export interface TrunkProblem {
  vlan: number
  networkNames: string[]
  /** Nodes whose probes are not heard. */
  silent: string[]
  /** Whether any other node is heard on the VLAN: then the silent ones' ports are wrong, else this node's own. */
  heardFromOthers: boolean
}

/** What the decision needs to know. */
export interface TrunkFacts {
  nodeName: string
  networks: Network[]
  nodes: Node[]
  /** Milliseconds since a probe of that node was heard on that VLAN; undefined: never. */
  heard: (nodeName: string, vlan: number) => number | undefined
  /** Milliseconds since 1970. */
  now: number
}

/**
 * Judges which VLANs the switches do not carry to this node: other nodes that are Ready send probes on all of them, so
 * one that is not heard is not carried. A pure function.
 */
export function findTrunkProblems({ nodeName, networks, nodes, heard, now }: TrunkFacts): TrunkProblem[] {
  const peers = nodes.filter((node) => node.metadata.name !== nodeName && isSettled(node.status?.ready, now))
  const vlans = Map.groupBy(
    networks.filter((network) => network.spec.vlan && now - Date.parse(network.metadata.creationTimestamp!) > patience),
    (network) => network.spec.vlan!,
  )
  return [...vlans].flatMap(([vlan, members]) => {
    const isSilent = (node: Node): boolean => (heard(node.metadata.name, vlan) ?? Infinity) > patience
    const silent = peers.filter(isSilent).map((node) => node.metadata.name)
    if (silent.length === 0) return []
    const networkNames = members.map((network) => network.metadata.name)
    return [{ vlan, networkNames, silent, heardFromOthers: silent.length < peers.length }]
  })
}

function isSettled(ready: NonNullable<Node['status']>['ready'], now: number): boolean {
  return ready?.state === true && now - Date.parse(ready.since) > patience
}

/** The problem as `dctl node check` shows it. */
export function describeTrunkProblem(
  problem: TrunkProblem,
  nodeName: string,
): { reason: string; message: string; remedy: string } {
  const { vlan, networkNames, silent, heardFromOthers } = problem
  const ports = heardFromOthers ? silent : [nodeName]
  return {
    reason: 'VlanNotTrunked',
    message: `VLAN ${vlan} (network ${networkNames.join(', ')}) does not arrive from ${silent.join(', ')}`,
    remedy: `Allow VLAN ${vlan} on the switch port of ${ports.join(', ')} and on the links between the switches.`,
  }
}
