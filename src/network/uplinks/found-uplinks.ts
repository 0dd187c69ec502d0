import { parseQuantity, planes, type FoundUplink, type Node, type Plane } from '../../api/index.ts'
import type { Bond, BondMember, LinkFacts } from './link-facts.ts'

type Spec = Pick<Node['spec'], 'uplinks'>

/** Looks a device up. */
export type FactsOf = (device: string) => LinkFacts

/** Everything that the agent reports about the uplinks of a node; a pure function of what the kernel says. */
export function findUplinks(spec: Spec, factsOf: FactsOf): FoundUplink[] {
  return planes.flatMap((plane) => {
    const uplink = spec.uplinks[plane]
    return uplink === undefined ? [] : [foundUplink(plane, uplink, factsOf, declaredRate(spec, plane, factsOf))]
  })
}

/** What is declared of the link of a plane; the rate of a plane on the link of `pods` is its share, not the link's rate. */
function declaredRate(spec: Spec, plane: Plane, factsOf: FactsOf): number | undefined {
  const linkOf = (each: Plane): string => bottomOf(factsOf(spec.uplinks[each]!.interface), factsOf).link.name
  const source = plane !== 'pods' && linkOf(plane) === linkOf('pods') ? 'pods' : plane
  const { rate } = spec.uplinks[source]!
  return rate === undefined ? undefined : parseQuantity(rate, `uplinks.${source}.rate`)
}

function foundUplink(
  plane: Plane,
  uplink: Spec['uplinks']['pods'],
  factsOf: FactsOf,
  declared: number | undefined,
): FoundUplink {
  const own = factsOf(uplink.interface)
  const { link, vlan = uplink.vlan } = bottomOf(own, factsOf)
  return {
    plane,
    interface: uplink.interface,
    link: link.name,
    ...(vlan === undefined ? {} : { vlan }),
    linkRate: own.carrier ? rateOf(link, declared) : 0,
    mtu: own.mtu,
    carrier: own.carrier,
    ...(link.bond === undefined ? {} : { members: link.bond.members.map(reportedMember) }),
  }
}

function reportedMember({ name, up, active, speed }: BondMember): NonNullable<FoundUplink['members']>[number] {
  return { name, up, active, ...(speed > 0 ? { rate: speed } : {}) }
}

const deepestStack = 8

/** The device that carries the frames in the end, below VLAN devices, and the outermost tag on it. */
export function bottomOf(device: LinkFacts, factsOf: FactsOf): { link: LinkFacts; vlan?: number } {
  let [link, vlan] = [device, device.vlan]
  for (let depth = 0; link.lower.length === 1 && depth < deepestStack; depth += 1) {
    link = factsOf(link.lower[0]!)
    vlan = link.vlan ?? vlan
  }
  return { link, ...(vlan === undefined ? {} : { vlan }) }
}

/**
 * Bits per second that a link gives now: what the kernel reports where hardware stands behind it, but never more than is
 * declared; what is declared otherwise. 0 when neither says anything.
 */
export function rateOf(link: LinkFacts, declared: number | undefined): number {
  if (link.bond) return bondRate(link.bond, declared)
  return link.isHardware && link.speed > 0 ? Math.min(declared ?? link.speed, link.speed) : (declared ?? link.speed)
}

/** Modes that send every frame over one member at a time, or over all at once: more members do not make them faster. */
const singleMemberModes = ['active-backup', 'broadcast']

/**
 * What a bond gives: the speed of the active member, or the sum of the active ones, by its mode. Where the kernel does
 * not know the speeds, the part of what is declared that the active members are of all.
 */
export function bondRate({ mode, members }: Pick<Bond, 'mode' | 'members'>, declared: number | undefined): number {
  const active = members.filter((member) => member.active)
  if (active.length === 0) return 0
  const isSingle = singleMemberModes.includes(mode)
  if (active.every(({ speed, isHardware }) => speed > 0 && (isHardware || declared === undefined))) {
    const speeds = active.map(({ speed }) => speed)
    const given = isSingle ? Math.min(...speeds) : speeds.reduce((sum, speed) => sum + speed, 0)
    return Math.min(declared ?? given, given)
  }
  if (declared === undefined) return 0
  return isSingle ? declared : Math.floor((declared * active.length) / members.length)
}
