import type { AttachedEndpoint } from '../engine.ts'
import { changeLink, putTokenBucket, removeRootQueue, type Link, type Queue } from '../netlink/index.ts'
import type { Damage } from './damage.ts'
import { ingressFilter } from './ingress-hook.ts'
import { encodeAlias } from './interface-alias.ts'
import { capBucket, hostInterfaceIndex } from './shaping.ts'

/** What the kernel has of the host end of an endpoint. */
export interface HostEnd {
  link: Link
  /** Numbers of the programs on what arrives. */
  programs: number[]
  rootQueue: Queue | undefined
}

/** The program that belongs on every host end: a descriptor, and the kernel's number of it. */
export interface WantedProgram {
  descriptor: number
  number: number
}

/** Compares the host end of an endpoint with what was made; a pure function. */
export function hostDamage(slot: number, endpoint: AttachedEndpoint, found: HostEnd, program: WantedProgram): Damage[] {
  const { hostInterface: name, mtu } = endpoint
  const index = hostInterfaceIndex(slot)
  const damage: Damage[] = []
  if (!found.programs.includes(program.number)) {
    const requests = ingressFilter(name, index, program.descriptor)
    damage.push({ reason: 'FilterMissing', message: `the anti-spoof program is not on ${name}`, requests })
  }
  if (found.link.name !== name) {
    const message = `${name} was renamed to ${found.link.name}`
    damage.push({ reason: 'HostEndRenamed', message, requests: [changeLink(found.link.name, index, { name })] })
  }
  if (!found.link.isUp) {
    damage.push({
      reason: 'HostEndDown',
      message: `${name} is down`,
      requests: [changeLink(name, index, { isUp: true })],
    })
  }
  if (found.link.mtu !== mtu) {
    const message = `${name} has MTU ${found.link.mtu}, not ${mtu}`
    damage.push({ reason: 'HostEndMtu', message, requests: [changeLink(name, index, { mtu })] })
  }
  if (found.link.alias !== encodeAlias(endpoint)) {
    const requests = [changeLink(name, index, { alias: encodeAlias(endpoint) })]
    damage.push({ reason: 'AliasChanged', message: `${name} no longer says whose it is`, requests })
  }
  return [...damage, ...queueDamage(endpoint, index, found.rootQueue)]
}

function queueDamage(
  { hostInterface: name, bandwidthCap }: AttachedEndpoint,
  index: number,
  found: Queue | undefined,
): Damage[] {
  if (!bandwidthCap) {
    if (!found || found.kind === 'noqueue') return []
    const message = `${name} has a queue of kind ${found.kind}, which nobody asked for`
    return [{ reason: 'QueueAdded', message, requests: [removeRootQueue(name, index)] }]
  }
  if (isBucketOf(found, bandwidthCap)) return []
  const requests = [putTokenBucket(name, index, capBucket(bandwidthCap))]
  return [{ reason: 'CapMissing', message: `${name} does not hold to the cap of ${bandwidthCap} bit/s`, requests }]
}

/** Whether a queue is the token bucket of a cap in bits per second; the kernel keeps whole bytes. */
export function isBucketOf(queue: Queue | undefined, cap: number): boolean {
  return queue?.kind === 'tbf' && Math.abs((queue.rate ?? 0) - cap) < 8
}
