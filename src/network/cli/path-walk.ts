import { isIPv6 } from 'node:net'
import { probeInterval } from '../trunk-check.ts'
import type { PathFacts, PathProbe } from '../path/path-facts.ts'

/** One end of a way, as far as it is known. */
export interface PathEnd {
  /** How the user knows it: an endpoint's name, or an address. */
  title: string
  /** Absent for an address that is no endpoint's. */
  endpoint?: { state: string; nodeName?: string; isNodeReady: boolean; networkName: string; vlan?: number }
  /** Address that the packet is from or for. */
  address?: string
  /** What the agent of its node tells. */
  facts?: PathFacts
  /** Why the agent tells nothing. */
  agentProblem?: string
  /** Whether the agent answered that it does not have the endpoint. */
  isMissing?: boolean
}

/** What the real frames showed, where some were sent. */
export interface ProbeOutcome extends PathProbe {
  /** Frames that the receiving endpoint got meanwhile; undefined when its node was not asked. */
  arrived?: number
}

/** Everything that the decision looks at. */
export interface PathKnowledge {
  from: PathEnd
  to: PathEnd
  /** Absent: no frames were sent, for the reason in `noProbe`. */
  probe?: ProbeOutcome
  noProbe?: string
}

/** One step of the way. `warns`: it passes, and something is worth knowing. */
export interface Hop {
  hop: string
  outcome: 'passes' | 'warns' | 'drops' | 'unknown'
  says: string
  /** What to do. */
  advice?: string
}

/** What becomes of the packet. */
export interface PathVerdict {
  outcome: 'arrives' | 'dropped' | 'unknown'
  sentence: string
  advice?: string
}

/** A VLAN is not carried when nothing was heard for so long, in milliseconds. */
const silence = 3 * probeInterval

const passes = (hop: string, says: string): Hop => ({ hop, outcome: 'passes', says })
const warns = (hop: string, says: string, advice?: string): Hop => ({
  hop,
  outcome: 'warns',
  says,
  ...optional(advice),
})
const drops = (hop: string, says: string, advice: string): Hop => ({ hop, outcome: 'drops', says, advice })
const unknown = (hop: string, says: string, advice?: string): Hop => ({
  hop,
  outcome: 'unknown',
  says,
  ...optional(advice),
})
const optional = (advice: string | undefined): { advice?: string } => (advice === undefined ? {} : { advice })

/**
 * Follows a packet from one end to the other, hop by hop. Frames that really arrived count more than facts that speak
 * against it: these become remarks. A pure function.
 */
export function walkPath(knowledge: PathKnowledge): Hop[] {
  const { from, to, probe } = knowledge
  const hasArrived = probe?.echoAfter !== undefined
  const hops = [...sendingHops(from, to.address), ...wayHops(knowledge), ...receivingHops(to), ...probeHops(knowledge)]
  return hasArrived ? hops.map((hop) => (hop.outcome === 'drops' ? { ...hop, outcome: 'warns' } : hop)) : hops
}

/** Sums the hops up: the first that drops is where the packet ends. A pure function. */
export function judgePath({ from, to, probe }: PathKnowledge, hops: Hop[]): PathVerdict {
  if (probe?.echoAfter !== undefined) {
    return { outcome: 'arrives', sentence: `packets from ${from.title} arrive at ${to.title}` }
  }
  const drop = hops.find(({ outcome }) => outcome === 'drops')
  if (drop) {
    const sentence = `packets from ${from.title} to ${to.title} are dropped: ${drop.hop}: ${drop.says}`
    return { outcome: 'dropped', sentence, ...optional(drop.advice) }
  }
  const open = hops.find(({ outcome }) => outcome === 'unknown')
  if (open)
    return { outcome: 'unknown', sentence: `it cannot be told: ${open.hop}: ${open.says}`, ...optional(open.advice) }
  return { outcome: 'arrives', sentence: `nothing is in the way of packets from ${from.title} to ${to.title}` }
}

/** `target`: the receiver's address, whose family the packet has. */
function sendingHops(from: PathEnd, target: string | undefined): Hop[] {
  const attached = attachedHop(from)
  if (!from.facts) return [attached]
  return [attached, interfaceHop(from, target), routeHop(from.facts), spoofHop(from), ...capHop(from.facts)]
}

function receivingHops(to: PathEnd): Hop[] {
  if (!to.endpoint) return [unknown(to.title, 'is no endpoint of this cluster: what it does cannot be seen')]
  const attached = attachedHop(to)
  if (!to.facts) return [attached]
  return [attached, forwardingHop(to), interfaceHop(to, to.address)]
}

function attachedHop({ title, endpoint, facts, agentProblem, isMissing }: PathEnd): Hop {
  const hop = `${title} attached`
  const { state, nodeName, isNodeReady } = endpoint!
  if (state !== 'Attached') {
    return drops(
      hop,
      `no container uses it: it is ${state}`,
      'Start a container that asks for it; see dctl endpoint describe.',
    )
  }
  if (facts) return passes(hop, `on node ${nodeName}, VLAN ${vlanText(facts.expected.vlan)}`)
  if (isMissing) {
    return drops(hop, `node ${nodeName} does not have it, although its object says so`, 'Restart the container.')
  }
  const ready = isNodeReady ? '' : ', and control calls the node NotReady'
  return unknown(
    hop,
    `the agent of node ${nodeName} does not answer${ready}: ${agentProblem}`,
    `Containers go on without it. See dctl node health ${nodeName}.`,
  )
}

function interfaceHop({ title, facts }: PathEnd, target: string | undefined): Hop {
  const { found, expected } = facts!
  const hop = `${title} interface`
  const again = 'Restart the container.'
  if (!found) return drops(hop, `${expected.interfaceName} is not in the container any more`, again)
  if (!found.isUp) {
    return drops(
      hop,
      `${expected.interfaceName} is down`,
      `Set it up in the container: ip link set ${expected.interfaceName} up.`,
    )
  }
  const isOfPacket = (own: string): boolean => target === undefined || isIPv6(own) === isIPv6(target)
  const missing = expected.addresses.filter((own) => isOfPacket(own) && !found.addresses.includes(own))
  if (missing.length > 0) {
    const says = `${expected.interfaceName} lacks its address ${missing.join(', ')}`
    return drops(hop, says, `${again} Something in it removed the address.`)
  }
  return passes(hop, `${expected.interfaceName} is up with ${found.addresses.join(', ')}, MTU ${found.mtu}`)
}

function routeHop({ route, expected }: PathFacts): Hop {
  const hop = 'route'
  if (!route) return unknown(hop, 'it was not looked at')
  if ('problem' in route) {
    return drops(
      hop,
      `the container knows no way: ${route.problem}`,
      'Give its network a gateway, or the container a route.',
    )
  }
  const way = route.gateway === undefined ? 'directly' : `by way of gateway ${route.gateway}`
  if (route.device !== expected.interfaceName) {
    return unknown(
      hop,
      `it leaves by ${route.device} and not by ${expected.interfaceName}`,
      'Trace from the endpoint of that interface.',
    )
  }
  return passes(hop, `${way}, from ${route.source}`)
}

function spoofHop({ facts }: PathEnd): Hop {
  const hop = 'anti-spoofing'
  const { expected, found, route, problems } = facts!
  const broken = problems.find(({ reason }) => ['ProgramMissing', 'EntryMissing', 'NotAttached'].includes(reason))
  if (broken)
    return drops(hop, `the node's part is broken: ${broken.message}`, 'The agent repairs that; is it running?')
  if (found && found.macAddress !== expected.macAddress) {
    return drops(
      hop,
      `the container sends with MAC ${found.macAddress}, its own is ${expected.macAddress} (spoofed-mac)`,
      'Give the interface its MAC back, or restart the container.',
    )
  }
  if (route && 'source' in route && !expected.addresses.includes(route.source)) {
    return drops(
      hop,
      `the container sends from ${route.source}, its own is ${expected.addresses.join(', ')} (spoofed-ip)`,
      'Remove the address that is not its own.',
    )
  }
  return passes(hop, `MAC ${expected.macAddress} and ${expected.addresses.join(', ')} are its own`)
}

function capHop({ counters, problems }: PathFacts): Hop[] {
  const missing = problems.find(({ reason }) => reason === 'ClassMissing')
  if (missing) return [warns('shaper', missing.message, 'The agent repairs that; until then its floor is not kept.')]
  const { cap = 0 } = counters.drops
  return cap > 0 ? [warns('cap', `${cap} frames were dropped at its cap so far`, 'See dctl endpoint describe.')] : []
}

function wayHops({ from, to }: PathKnowledge): Hop[] {
  const { facts } = from
  const route = facts?.route && 'device' in facts.route ? facts.route : undefined
  if (!facts || !route || route.device !== facts.expected.interfaceName) return []
  const toVlan = to.facts?.expected.vlan ?? to.endpoint?.vlan
  const network = networkHop(facts.expected.vlan, toVlan, route.gateway, to)
  const isLocal =
    route.gateway === undefined &&
    to.endpoint?.nodeName !== undefined &&
    to.endpoint.nodeName === from.endpoint?.nodeName
  if (isLocal) return [network, passes('wire', 'both are on one node: the frame does not touch the wire')]
  return [
    network,
    uplinkHop(from),
    ...(to.facts ? [uplinkHop(to)] : []),
    ...trunkHops(from, to, route.gateway),
    ...mtuHop(from, to),
  ]
}

function networkHop(fromVlan: number, toVlan: number | undefined, gateway: string | undefined, to: PathEnd): Hop {
  const hop = 'network'
  if (gateway !== undefined) {
    return passes(
      hop,
      `gateway ${gateway} takes it on from VLAN ${vlanText(fromVlan)}${toVlan === undefined ? '' : ` to VLAN ${vlanText(toVlan)}`}`,
    )
  }
  if (toVlan === undefined) return passes(hop, `it leaves on VLAN ${vlanText(fromVlan)}`)
  if (toVlan === fromVlan) return passes(hop, `both are on VLAN ${vlanText(fromVlan)}`)
  return drops(
    hop,
    `${to.title} is on VLAN ${vlanText(toVlan)}, the frame goes out on VLAN ${vlanText(fromVlan)} and no gateway is asked`,
    'Put both on one network, or use subnets that do not overlap and a gateway between them.',
  )
}

function uplinkHop({ endpoint, facts }: PathEnd): Hop {
  const { interface: device, carrier } = facts!.uplink
  const hop = `uplink of ${endpoint!.nodeName}`
  if (carrier) return passes(hop, `${device} has a carrier`)
  return drops(hop, `${device} has no carrier`, 'Check the cable and the switch port.')
}

/** Only between two nodes on one VLAN is it known which probes should be heard. */
function trunkHops(from: PathEnd, to: PathEnd, gateway: string | undefined): Hop[] {
  if (!to.facts || gateway !== undefined || to.facts.expected.vlan !== from.facts!.expected.vlan) return []
  return [trunkHop(from, to), trunkHop(to, from)]
}

function trunkHop(from: PathEnd, to: PathEnd): Hop {
  const { vlan } = to.facts!.expected
  const [there, here] = [to.endpoint!.nodeName!, from.endpoint!.nodeName!]
  const hop = `switches ${here} to ${there}`
  const { heardFromPeer: heard } = to.facts!
  if (vlan === 0) return passes(hop, 'untagged frames are not probed')
  if (heard === undefined) return unknown(hop, 'it was not looked at')
  const advice = `Allow VLAN ${vlan} on the switch ports of ${here} and ${there} and on the links between the switches.`
  // a network that is seconds old has not been probed yet: only real frames tell
  if (heard === null) return unknown(hop, `VLAN ${vlan} of ${here} was never heard at ${there}`, advice)
  if (heard <= silence) return passes(hop, `VLAN ${vlan} of ${here} was heard ${seconds(heard)} ago`)
  return drops(hop, `VLAN ${vlan} of ${here} was last heard ${seconds(heard)} ago at ${there}`, advice)
}

function mtuHop(from: PathEnd, to: PathEnd): Hop[] {
  const [own, other] = [from.facts?.found?.mtu, to.facts?.found?.mtu]
  const tag = from.facts!.expected.vlan === 0 ? 0 : 4
  const { mtu: wire, interface: device } = from.facts!.uplink
  if (own !== undefined && own + tag > wire) {
    return [
      warns(
        'MTU',
        `packets above ${wire - tag} bytes do not fit through ${device}`,
        `Set the MTU of the network to ${wire - tag} at most.`,
      ),
    ]
  }
  if (own === undefined || other === undefined || own <= other) return []
  return [
    warns(
      'MTU',
      `${from.title} sends up to ${own} bytes, ${to.title} takes ${other}: larger ones are lost`,
      'Give both networks one MTU.',
    ),
  ]
}

function forwardingHop({ title, endpoint, facts }: PathEnd): Hop {
  const hop = `${endpoint!.nodeName} to ${title}`
  const broken = facts!.problems.find(({ reason }) =>
    ['ForwardingMissing', 'EntryMissing', 'NotAttached'].includes(reason),
  )
  if (broken) return drops(hop, broken.message, 'The agent repairs that; is it running?')
  const { found, expected } = facts!
  if (found && found.macAddress !== expected.macAddress) {
    return drops(
      hop,
      `its interface has MAC ${found.macAddress}, frames come to ${expected.macAddress}`,
      'Restart the container.',
    )
  }
  return passes(hop, `frames to ${expected.macAddress} are given to it`)
}

function probeHops(knowledge: PathKnowledge): Hop[] {
  return knowledge.from.endpoint?.state === 'Attached' ? [probeHop(knowledge)] : []
}

function probeHop({ from, to, probe, noProbe }: PathKnowledge): Hop {
  const hop = 'real frames'
  if (!probe) return warns(hop, `none were sent: ${noProbe ?? 'not asked for'}`)
  if (probe.echoAfter !== undefined) return passes(hop, `${to.title} answered after ${probe.echoAfter.toFixed(1)} ms`)
  const reasons = Object.entries(probe.dropped).map(([reason, count]) => `${reason} ${count}`)
  if (reasons.length > 0) {
    return drops(
      hop,
      `node ${from.endpoint?.nodeName} dropped them: ${reasons.join(', ')}`,
      'docs/troubleshooting.md says what each reason means.',
    )
  }
  const route = from.facts?.route
  const next = route && 'gateway' in route && route.gateway !== undefined ? `gateway ${route.gateway}` : to.title
  const isElsewhere = to.facts !== undefined && to.facts.expected.vlan !== from.facts?.expected.vlan
  if (probe.nextHopMac === undefined) return noNeighbour(hop, next, to, probe, isElsewhere)
  if (next === to.title) {
    return warns(
      hop,
      `${to.title} answers for its address (MAC ${probe.nextHopMac}) and not to ping`,
      'A firewall in the container is likely.',
    )
  }
  return drops(
    hop,
    `${next} answers, ${to.title} behind it does not`,
    'Check the routes and filters of the gateway, and the way back.',
  )
}

/** `isElsewhere`: the receiver is on another VLAN, so what arrives there was not sent from here. */
function noNeighbour(hop: string, next: string, to: PathEnd, { arrived }: ProbeOutcome, isElsewhere: boolean): Hop {
  const said = `nobody answers for ${next}`
  if (arrived === undefined || next !== to.title || isElsewhere) {
    return drops(hop, said, 'Is it there and up? Is the VLAN carried to where it is?')
  }
  if (arrived === 0) {
    return drops(
      hop,
      `${said}, and none arrived at ${to.endpoint?.nodeName}: lost between the nodes`,
      'Check that the switches carry the VLAN: dctl node check.',
    )
  }
  return drops(
    hop,
    `${said}, although frames arrive at its node`,
    'Its interface or its answers are in trouble: trace the way back too.',
  )
}

function vlanText(vlan: number): string {
  return vlan === 0 ? 'untagged' : String(vlan)
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`
}
