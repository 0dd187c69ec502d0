import { formatQuantity, isDecidedAbout, type Endpoint, type Network } from '../../api/index.ts'
import { formatAttainment } from '../../guarantee/index.ts'
import { formatLabels, type Column } from '../../verb/index.ts'
import type { LiveEndpoint } from '../live-endpoint.ts'
import { totalDrops } from './live-endpoints.ts'

/** An endpoint with what else is known about it. */
export interface EndpointRow {
  endpoint: Endpoint
  /** Absent when the network is gone. */
  network?: Network
  /** Absent when it is not attached or its node did not answer. */
  live?: LiveEndpoint
  /** The other endpoints of its container, where they were looked for. */
  siblings?: Endpoint[]
}

const shortIdLength = 12

/** `Attached`, `Releasing`, `Refused`, `Allocated` (and waiting for a container) or `Pending` (control has not decided). */
export function stateOf(endpoint: Endpoint): string {
  const { metadata, spec, status } = endpoint
  if (metadata.deletionTimestamp) return 'Releasing'
  if (!isDecidedAbout(endpoint)) return 'Pending'
  if (status?.allocation?.state === 'Refused') return 'Refused'
  return spec.holder && status?.attachment ? 'Attached' : 'Allocated'
}

/** The pod where the runtime named one, else the beginning of the container's id. */
function containerOf({ spec: { holder } }: Endpoint): string | undefined {
  return holder?.pod?.name ?? holder?.containerId.slice(0, shortIdLength)
}

/** Addresses that the endpoint has, or those it asked for while control has not decided. */
export function addressesOf({ spec, status }: Endpoint): string[] {
  const allocation = status?.allocation
  if (allocation?.state === 'Allocated') return allocation.addresses.map(({ address }) => address)
  return spec.addresses ?? []
}

/** Gateways of the allocation, else those of the network. */
export function gatewaysOf({ endpoint, network }: EndpointRow): string[] {
  const allocation = endpoint.status?.allocation
  if (allocation?.state === 'Allocated') return allocation.addresses.flatMap(({ gateway }) => gateway ?? [])
  return network?.spec.subnets.flatMap(({ gateway }) => gateway ?? []) ?? []
}

function vlanOf({ endpoint, network }: EndpointRow): number | undefined {
  const allocation = endpoint.status?.allocation
  return (allocation?.state === 'Allocated' ? allocation.vlan : network?.spec.vlan) || undefined
}

function tierOf({ endpoint, network }: EndpointRow): string | undefined {
  const allocation = endpoint.status?.allocation
  if (allocation?.state === 'Allocated') return allocation.perfTierName
  return endpoint.spec.perfTierName ?? network?.spec.perfTierName
}

function macOf({ spec, status }: Endpoint): string | undefined {
  return status?.allocation?.state === 'Allocated' ? status.allocation.macAddress : spec.macAddress
}

/** A measured rate has no more than three digits that mean something. */
function measured(rate: number): string {
  return formatQuantity(Number(rate.toPrecision(3)))
}

/** Columns of `endpoint list` and `endpoint get`: the published ones, then those of `-o wide` (rates in bits per second). */
export const endpointColumns: Column<EndpointRow>[] = [
  { header: 'NAME', value: ({ endpoint }) => endpoint.metadata.name },
  { header: 'NAMESPACE', value: ({ endpoint }) => endpoint.metadata.namespace },
  { header: 'CONTAINER', value: ({ endpoint }) => containerOf(endpoint) },
  { header: 'NETWORK', value: ({ endpoint }) => endpoint.spec.networkName },
  { header: 'IP', value: ({ endpoint }) => addressesOf(endpoint).join(',') },
  { header: 'MAC', value: ({ endpoint }) => macOf(endpoint) },
  { header: 'GATEWAY', value: (row) => gatewaysOf(row).join(',') },
  { header: 'VLAN', value: vlanOf },
  { header: 'VF', value: ({ endpoint: { spec, status } }) => spec.holder && status?.attachment?.hostInterface },
  { header: 'NODE', value: ({ endpoint }) => endpoint.spec.nodeName },
  { header: 'LABELS', value: ({ endpoint }) => formatLabels(endpoint.metadata.labels) },
  { header: 'INTERFACE', value: ({ endpoint }) => endpoint.spec.holder?.interfaceName, wide: true },
  { header: 'PRIMARY', value: ({ endpoint }) => endpoint.spec.holder?.primaryInterface, wide: true },
  { header: 'STATE', value: ({ endpoint }) => stateOf(endpoint), wide: true },
  { header: 'PERF-TIER', value: tierOf, wide: true },
  { header: 'PROMISED', value: ({ live }) => live && formatQuantity(live.bandwidthFloor), wide: true },
  { header: 'DELIVERED', value: ({ live }) => live && measured(live.rates.delivered), wide: true },
  { header: 'ATTAINMENT', value: ({ live }) => live && formatAttainment(live.windows), wide: true },
  { header: 'RECEIVED', value: ({ live }) => live && measured(live.rates.received), wide: true },
  {
    header: 'RECEIVE-ATTAINMENT',
    value: ({ live }) => live?.receive && formatAttainment(live.receive.windows),
    wide: true,
  },
  { header: 'DROPS', value: ({ live }) => live && totalDrops(live), wide: true },
]
