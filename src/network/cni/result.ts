import { isIPv6 } from 'node:net'
import type { Dns, PreviousResult } from './configuration.ts'
import { isAtLeast, type CniVersion } from './versions.ts'

/** One interface that an ADD made, in the terms of no particular version. */
export interface AttachedInterface {
  hostInterface: string
  interfaceName: string
  netns: string
  macAddress: string
  mtu: number
  /** At most one per IP family. */
  addresses: { address: string; prefixLength: number; gateway?: string }[]
}

/** What an ADD made: the primary interface, and those that came with it. */
export interface AttachmentResult extends AttachedInterface {
  children?: AttachedInterface[]
}

/**
 * The result of an ADD in the format of a version. Runtimes copy every entry of `ips` into the addresses of the pod, so
 * that only those of the primary interface are there; children are in `interfaces`. `attached` is undefined for a pod that wants no interface: then the
 * result of the plugins before is passed on alone. What earlier plugins of the chain made comes first.
 */
export function formatResult(
  version: CniVersion,
  attached: AttachmentResult | undefined,
  previous: PreviousResult = {},
  dns?: Dns,
): object {
  if (!isAtLeast(version, '0.3.0')) return formatFirstGeneration(version, attached, dns)
  const before = previous.interfaces ?? []
  return {
    cniVersion: version,
    interfaces: [
      ...before,
      ...(attached ? [attached, ...(attached.children ?? [])].flatMap((each) => interfacesOf(version, each)) : []),
    ],
    ips: [
      ...earlierAddresses(version, previous),
      ...(attached ? addressesOf(version, attached, before.length + 1) : []),
    ],
    routes: [...(previous.routes ?? []), ...(attached ? routesOf(attached) : [])],
    dns: dns ?? previous.dns ?? {},
  }
}

function interfacesOf(version: CniVersion, attached: AttachedInterface): object[] {
  const mtu = isAtLeast(version, '1.1.0') ? { mtu: attached.mtu } : {}
  const { hostInterface, interfaceName, macAddress, netns } = attached
  return [
    { name: hostInterface, ...mtu },
    { name: interfaceName, mac: macAddress, sandbox: netns, ...mtu },
  ]
}

/** `version` per address is required before 1.0.0 and gone since. */
function familyOf(version: CniVersion, address: string): object {
  return isAtLeast(version, '1.0.0') ? {} : { version: isIPv6(address) ? '6' : '4' }
}

function addressesOf(version: CniVersion, attached: AttachmentResult, interfaceIndex: number): object[] {
  return attached.addresses.map(({ address, prefixLength, gateway }) => ({
    ...familyOf(version, address),
    address: `${address}/${prefixLength}`,
    ...(gateway ? { gateway } : {}),
    interface: interfaceIndex,
  }))
}

function earlierAddresses(version: CniVersion, previous: PreviousResult): object[] {
  return (previous.ips ?? []).map(({ address, gateway, interface: index }) => ({
    ...familyOf(version, address.split('/')[0]!),
    address,
    ...(gateway ? { gateway } : {}),
    ...(index === undefined ? {} : { interface: index }),
  }))
}

function routesOf(attached: AttachmentResult): { dst: string; gw: string }[] {
  return attached.addresses.flatMap(({ address, gateway }) =>
    gateway ? [{ dst: isIPv6(address) ? '::/0' : '0.0.0.0/0', gw: gateway }] : [],
  )
}

/** Versions 0.1.0 and 0.2.0 know one address per family and no interfaces. */
function formatFirstGeneration(version: CniVersion, attached: AttachmentResult | undefined, dns?: Dns): object {
  const result: Record<string, unknown> = { cniVersion: version, dns: dns ?? {} }
  for (const each of attached?.addresses ?? []) {
    const { address, prefixLength, gateway } = each
    result[isIPv6(address) ? 'ip6' : 'ip4'] = {
      ip: `${address}/${prefixLength}`,
      ...(gateway ? { gateway } : {}),
      routes: routesOf({ ...attached!, addresses: [each] }),
    }
  }
  return result
}
