import type { AttachRequest, EngineProblem } from '../engine.ts'
import { inspectContainer } from './container-side.ts'
import { hasIngressFilter } from './ingress-hook.ts'
import { decodeEndpoint, forwardingKey, slotKey } from './map-layout.ts'
import type { Programs } from './programs.ts'
import { hostInterfaceName } from './shaping.ts'
import { classHandles } from './uplink-shaper.ts'

/** Compares what the kernel has with what was asked for, from the container inwards; `shapedUplink` where there are classes. */
export async function findProblems(
  programs: Programs,
  request: AttachRequest,
  slot: number,
  shapedUplink: string | undefined,
): Promise<EngineProblem[]> {
  const host = hostInterfaceName(slot)
  const [link, hooked, classes] = await Promise.all([
    inspectContainer(request.netns, request.interfaceName).catch(() => undefined),
    hasIngressFilter(host),
    shapedUplink ? classHandles(shapedUplink) : undefined,
  ])
  const entry = decodeEndpoint(programs.endpoints.get(slotKey(slot))!)
  const forward = programs.forwarding.get(forwardingKey(request.macAddress, request.vlan))?.readUInt32LE()
  const wanted = request.addresses.map((each) => each.address)
  const missing = wanted.filter((address) => !link?.addr_info.some((info) => info.local === address))
  const problem = (failed: boolean, reason: string, message: string): EngineProblem[] =>
    failed ? [{ reason, message }] : []
  return [
    ...problem(!link, 'InterfaceMissing', `${request.interfaceName} is not in ${request.netns}`),
    ...problem(
      !!link && link.address !== request.macAddress,
      'MacChanged',
      `MAC is ${link?.address}, not ${request.macAddress}`,
    ),
    ...problem(!!link && missing.length > 0, 'AddressMissing', `the container lacks ${missing.join(', ')}`),
    ...problem(!!link && !link.flags.includes('UP'), 'InterfaceDown', `${request.interfaceName} is down`),
    ...problem(!hooked, 'ProgramMissing', `no program on ${host}`),
    ...problem(entry?.endpointId !== request.endpointId, 'EntryMissing', `slot ${slot} is not this endpoint's`),
    ...problem(forward !== slot, 'ForwardingMissing', `frames to ${request.macAddress} do not reach slot ${slot}`),
    ...problem(
      classes !== undefined && !classes.includes(`1:${slot.toString(16)}`),
      'ClassMissing',
      `no traffic class for slot ${slot} on ${shapedUplink}`,
    ),
  ]
}
