import type { JournalRecord } from './journal.ts'

/**
 * Text of the pod annotation `k8s.v1.cni.cncf.io/network-status` (version 1.2 of the multi-network specification, 4.1.2)
 * for the interfaces of one container, the primary first. `default` is the interface whose addresses are the pod's.
 */
export function networkStatusOf([primary, ...children]: JournalRecord[]): string {
  const inOrder = children.toSorted((one, other) =>
    one.interfaceName.localeCompare(other.interfaceName, 'en', { numeric: true }),
  )
  const entries = [primary!, ...inOrder].map(({ networkName, interfaceName, request }) => ({
    name: networkName,
    interface: interfaceName,
    ips: request.addresses.map(({ address }) => address),
    mac: request.macAddress,
    ...(interfaceName === primary!.interfaceName ? { default: true } : {}),
    dns: {},
  }))
  return JSON.stringify(entries)
}
