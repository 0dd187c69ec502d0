import { Network, Node, PerfTier } from '../../api/index.ts'
import { Conflict, NotFound } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'

/** Throws NotFound or Conflict unless the tier exists and is not being deleted. */
export function checkTierExists(name: string, reader: SyncReader): void {
  const tier = reader.get(PerfTier, { name })
  const remedy = 'Choose one from `dctl perf-tier list`, or create it with `dctl perf-tier create`.'
  if (!tier) throw new NotFound(`perf-tier ${name} does not exist`, { remedy })
  if (tier.metadata.deletionTimestamp) throw new Conflict(`perf-tier ${name} is being deleted`, { remedy })
}

/** The named network. Throws NotFound or Conflict unless it exists and is not being deleted. */
export function existingNetwork(name: string, reader: SyncReader): Network {
  const network = reader.get(Network, { name })
  const remedy = 'Choose one from `dctl network list`, or create it with `dctl network create`.'
  if (!network) throw new NotFound(`network ${name} does not exist`, { remedy })
  if (network.metadata.deletionTimestamp) throw new Conflict(`network ${name} is being deleted`, { remedy })
  return network
}

/** Throws NotFound unless the node exists. */
export function checkNodeExists(name: string, reader: SyncReader): void {
  if (reader.get(Node, { name })) return
  throw new NotFound(`node ${name} does not exist`, {
    remedy: 'Choose one from `dctl node list`; a node appears there when its agent runs.',
  })
}
