import { parseQuantity, planes, type FoundUplink, type Node, type Plane, type Uplink } from '../../api/index.ts'
import { formatRate, otherPlanes, promisableBandwidth, sharesPodsLink } from '../../guarantee/index.ts'
import { bottomOf, findUplinks, type FactsOf } from './found-uplinks.ts'
import type { Bond, LinkFacts } from './link-facts.ts'

/** Something that is wrong with an uplink; `reason` is a stable word in CamelCase. */
export interface UplinkProblem {
  reason: string
  message: string
  remedy: string
}

type Spec = Pick<Node['spec'], 'uplinks'>

/** Judges the uplinks of a node, a pure function of what the kernel says. Empty when all is well. */
export function findUplinkProblems(spec: Node['spec'], factsOf: FactsOf): UplinkProblem[] {
  const found = findUplinks(spec, factsOf)
  const seen = new Set<string>()
  const perPlane = planes.flatMap((plane) => {
    const uplink = spec.uplinks[plane]
    if (uplink === undefined) return []
    const own = factsOf(uplink.interface)
    if (!own.exists) return [missing(plane, uplink)]
    const { link } = bottomOf(own, factsOf)
    const isFirstOnLink = !seen.has(link.name)
    seen.add(link.name)
    return [...interfaceProblems(plane, uplink, own), ...(isFirstOnLink ? linkProblems(spec, plane, link) : [])]
  })
  return [...perPlane, ...sharingProblems(spec, found)]
}

function missing(plane: Plane, uplink: Uplink): UplinkProblem {
  return {
    reason: 'UplinkMissing',
    message: `the uplink ${uplink.interface} does not exist on this node`,
    remedy: `Correct spec.uplinks.${plane}.interface of the Node, or bring the device up.`,
  }
}

function interfaceProblems(plane: Plane, uplink: Uplink, own: LinkFacts): UplinkProblem[] {
  const device = uplink.interface
  const problems: UplinkProblem[] = []
  if (!own.carrier) {
    problems.push({
      reason: 'UplinkDown',
      message: `the uplink ${device} has no carrier`,
      remedy: 'Check the cable and the switch port, or set the device up.',
    })
  }
  if (uplink.mtu !== undefined && own.mtu < uplink.mtu) {
    problems.push({
      reason: 'UplinkMtuTooSmall',
      message: `the uplink ${device} has MTU ${own.mtu}, spec.uplinks.${plane}.mtu says ${uplink.mtu}`,
      remedy: `Raise the MTU of the device, or lower spec.uplinks.${plane}.mtu to ${own.mtu}.`,
    })
  }
  if (uplink.vlan !== undefined && own.vlan !== undefined && uplink.vlan !== own.vlan) {
    problems.push({
      reason: 'PlaneVlanDiffers',
      message: `${device} tags frames with VLAN ${own.vlan}, spec.uplinks.${plane}.vlan says ${uplink.vlan}`,
      remedy: `Correct spec.uplinks.${plane}.vlan, or leave it out: a VLAN device says itself which one it has.`,
    })
  }
  return problems
}

function linkProblems(spec: Spec, plane: Plane, link: LinkFacts): UplinkProblem[] {
  const uplink = spec.uplinks[plane]!
  const declared = uplink.rate === undefined ? undefined : parseQuantity(uplink.rate, `uplinks.${plane}.rate`)
  return [
    ...(link.bond ? bondProblems(plane, uplink, link.name, link.bond) : []),
    ...(declared === undefined ? unknownRate(plane, link) : slowLink(plane, link, declared)),
  ]
}

/** Only of the pods plane: nothing is promised on the others. */
function unknownRate(plane: Plane, link: LinkFacts): UplinkProblem[] {
  const isKnown = link.bond ? link.bond.members.every(({ up, speed }) => !up || speed > 0) : link.speed > 0
  if (plane !== 'pods' || isKnown || !link.carrier) return []
  return [
    {
      reason: 'UplinkRateUnknown',
      message: `the kernel does not know the speed of the uplink ${link.name}, so no bandwidth can be promised`,
      remedy: 'Set spec.uplinks.pods.rate of the Node.',
    },
  ]
}

/** A bond is judged by its members. */
function slowLink(plane: Plane, link: LinkFacts, declared: number): UplinkProblem[] {
  if (link.bond || !link.carrier || !link.isHardware || link.speed === 0 || link.speed >= declared) return []
  return [
    {
      reason: 'UplinkSlowerThanDeclared',
      message: `the uplink ${link.name} runs at ${formatRate(link.speed)}, spec.uplinks.${plane}.rate says ${formatRate(declared)}`,
      remedy: `Check the cable and the speed of the switch port, or lower spec.uplinks.${plane}.rate.`,
    },
  ]
}

function bondProblems(plane: Plane, uplink: Uplink, name: string, bond: Bond): UplinkProblem[] {
  const { mode, members, isMonitored } = bond
  const problems: UplinkProblem[] = []
  const down = members.filter(({ up }) => !up).map((member) => member.name)
  if (down.length > 0) {
    problems.push({
      reason: 'BondMemberDown',
      message: `${down.join(', ')} of the bond ${name} ${down.length === 1 ? 'is' : 'are'} down, ${members.length - down.length} of ${members.length} members are up`,
      remedy: 'Check cable and switch port of that member, or set the device up.',
    })
  }
  const idle = members.filter(({ up, active }) => up && !active).map((member) => member.name)
  if (idle.length > 0 && mode !== 'active-backup') {
    problems.push({
      reason: 'BondMemberIdle',
      message: `${idle.join(', ')} of the bond ${name} (${mode}) ${idle.length === 1 ? 'is' : 'are'} up and carries no frames`,
      remedy: 'Let the switch form one link aggregation (LACP) of the ports of this bond.',
    })
  }
  if (!isMonitored) {
    problems.push({
      reason: 'BondNotMonitored',
      message: `the bond ${name} does not look after its members: it goes on sending over one whose link is down`,
      remedy: `Set a monitoring interval, such as: ip link set ${name} type bond miimon 100`,
    })
  }
  const [expected, actual] = [uplink.bondMembers?.toSorted(), members.map((member) => member.name).sort()]
  if (expected !== undefined && expected.join() !== actual.join()) {
    problems.push({
      reason: 'BondMembersDiffer',
      message: `the bond ${name} has the members ${actual.join(', ') || '(none)'}, spec.uplinks.${plane}.bondMembers says ${expected.join(', ')}`,
      remedy: `Add the missing member to the bond, or correct spec.uplinks.${plane}.bondMembers.`,
    })
  }
  return problems
}

function sharingProblems(spec: Node['spec'], found: FoundUplink[]): UplinkProblem[] {
  const pods = found.find(({ plane }) => plane === 'pods')!
  const sharing = otherPlanes.filter((plane) => sharesPodsLink(spec, plane, found))
  const unkept = sharing.filter((plane) => spec.uplinks[plane]!.rate === undefined)
  const kept = sharing.flatMap((plane) => spec.uplinks[plane]!.rate ?? [])
  const sum = kept.map((rate) => parseQuantity(rate)).reduce((total, rate) => total + rate, 0)
  const problems = unkept.map((plane) => ({
    reason: 'PlaneWithoutReserve',
    message: `the ${plane} plane shares the link ${pods.link} with containers and nothing is kept for it`,
    remedy: `Set spec.uplinks.${plane}.rate of the Node to what it needs, or give it an interface of its own.`,
  }))
  if (pods.linkRate === 0 || sum <= promisableBandwidth(pods.linkRate)) return problems
  const exceeded = {
    reason: 'PlanesExceedLink',
    message: `${formatRate(sum)} are to be kept for other planes and the link ${pods.link} has ${formatRate(promisableBandwidth(pods.linkRate))} that can be promised`,
    remedy: 'Lower the rates of the other planes, or give them interfaces of their own.',
  }
  return [...problems, exceeded]
}
