import { Endpoint, Network, Node, PerfTier } from '../../api/index.ts'
import {
  bandwidthRates,
  checkTier,
  doesNotFit,
  fit,
  nodeTotals,
  nothing,
  sumOf,
  type Amounts,
} from '../../guarantee/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { blockingUsers, endpointsOfTier, endpointTitle, tierNameOf } from './network-users.ts'

/** Checks a change of a tier: its own rules, and that what uses it still fits on each node. */
export function admitTierUpdate(tier: PerfTier, existing: PerfTier, reader: SyncReader): void {
  if (tier.metadata.deletionTimestamp) return
  checkTier(tier)
  const { bandwidthFloor } = bandwidthRates(tier)
  if (bandwidthFloor <= bandwidthRates(existing).bandwidthFloor) return
  const networks = new Map(reader.list(Network).map((network) => [network.metadata.name, network]))
  const users = new Map<string, { count: number; promised: Amounts }>()
  for (const endpoint of reader.list(Endpoint)) {
    const nodeName = endpoint.spec.nodeName
    if (nodeName === undefined) continue
    const entry = users.get(nodeName) ?? { count: 0, promised: { ...nothing } }
    users.set(nodeName, entry)
    if (tierNameOf(endpoint, networks.get(endpoint.spec.networkName)) === tier.metadata.name) entry.count += 1
    else entry.promised = sumOf([entry.promised, promisedTo(endpoint)])
  }
  for (const [nodeName, { count, promised }] of users) checkNode(tier, nodeName, count, promised, reader)
}

function promisedTo({ status }: Endpoint): Amounts {
  const allocation = status?.allocation
  return { ...nothing, bandwidth: allocation?.state === 'Allocated' ? allocation.bandwidthFloor : 0 }
}

function checkNode(tier: PerfTier, nodeName: string, count: number, promised: Amounts, reader: SyncReader): void {
  const node = reader.get(Node, { name: nodeName })
  if (!node || count === 0) return
  const needed = { ...nothing, bandwidth: count * bandwidthRates(tier).bandwidthFloor }
  const result = fit(needed, { total: nodeTotals(node), promised })
  if (result.fits) return
  const who = `perf-tier ${tier.metadata.name} is in use by ${count} endpoint${count === 1 ? '' : 's'} there and`
  throw doesNotFit(who, nodeName, result.shortfalls)
}

/** Refuses to delete a tier that endpoints or networks name. */
export function admitTierDelete(tier: PerfTier, reader: SyncReader): void {
  const { name } = tier.metadata
  const networks = reader.list(Network)
  const named = networks.filter(({ spec }) => spec.perfTierName === name).map(({ metadata }) => metadata.name)
  if (named.length > 0) {
    throw inUse(`perf-tier ${name}`, 'network', named, 'Give those networks another tier first.')
  }
  const endpoints = blockingUsers(tier, endpointsOfTier(reader.list(Endpoint), networks, name))
  if (endpoints.length === 0) return
  const remedy = 'Stop the containers that use it, delete its static endpoints, or give them another tier first.'
  throw inUse(`perf-tier ${name}`, 'endpoint', endpoints.map(endpointTitle), remedy)
}
