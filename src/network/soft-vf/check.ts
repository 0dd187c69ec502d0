import type { AttachRequest, EngineProblem } from '../engine.ts'
import type { NetlinkSocket } from '../netlink/index.ts'
import { inspectContainer, type ContainerState } from './container-side.ts'
import { ingressPrograms } from './ingress-hook.ts'
import { decodeEndpoint, forwardingKey, slotKey } from './map-layout.ts'
import type { Programs } from './programs.ts'
import { hostInterfaceIndex, hostInterfaceName } from './shaping.ts'
import { findClasses } from './uplink-shaper.ts'

/** Compares what the kernel has with what was asked for, from the container inwards; `shapedUplink` where there are classes. */
export function findProblems(
  socket: NetlinkSocket,
  programs: Programs,
  request: AttachRequest,
  slot: number,
  shapedUplink: { name: string; index: number } | undefined,
): EngineProblem[] {
  const host = hostInterfaceName(slot)
  const container = inspect(request)
  const link = container?.link
  const isHooked = ingressPrograms(socket, hostInterfaceIndex(slot)).length > 0
  const classes = shapedUplink && findClasses(socket, shapedUplink.index)
  const entry = decodeEndpoint(programs.endpoints.get(slotKey(slot))!)
  const forward = programs.forwarding.get(forwardingKey(request.macAddress, request.vlan))
  const wanted = request.addresses.map((each) => each.address)
  const missing = notIn(
    container?.addresses.map(({ address }) => address),
    wanted,
  )
  const unrouted = request.routingTable === undefined ? [] : notIn(container?.sourceRouted, wanted)
  const problem = (failed: boolean, reason: string, message: string): EngineProblem[] =>
    failed ? [{ reason, message }] : []
  return [
    ...problem(!link, 'InterfaceMissing', `${request.interfaceName} is not in ${request.netns}`),
    ...problem(
      !!link && link.macAddress !== request.macAddress,
      'MacChanged',
      `MAC is ${link?.macAddress}, not ${request.macAddress}`,
    ),
    ...problem(!!link && missing.length > 0, 'AddressMissing', `the container lacks ${missing.join(', ')}`),
    ...problem(!!link && !link.isUp, 'InterfaceDown', `${request.interfaceName} is down`),
    ...problem(
      !!link && unrouted.length > 0,
      'SourceRouteMissing',
      `no rule, or no route in table ${request.routingTable}, for what is sent from ${unrouted.join(', ')}`,
    ),
    ...problem(!isHooked, 'ProgramMissing', `no program on ${host}`),
    ...problem(entry?.endpointId !== request.endpointId, 'EntryMissing', `slot ${slot} is not this endpoint's`),
    ...problem(forward !== slot, 'ForwardingMissing', `frames to ${request.macAddress} do not reach slot ${slot}`),
    ...problem(
      classes !== undefined && !classes.some(({ minor }) => minor === slot),
      'ClassMissing',
      `no traffic class for slot ${slot} on ${shapedUplink?.name}`,
    ),
  ]
}

function notIn(present: string[] | undefined, wanted: string[]): string[] {
  return wanted.filter((address) => !present?.includes(address))
}

function inspect(request: AttachRequest): ContainerState | undefined {
  try {
    return inspectContainer(request)
  } catch {
    return undefined // the namespace has gone
  }
}
