import { defaultPerfTiers, Endpoint, Network, PerfTier } from '../../api/index.ts'
import { CarbonadoError } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { inUseFinalizer } from '../admission/network-users.ts'

/**
 * Creates the default tiers in a store that has no tier, network or endpoint yet. Nodes do not count: agents may
 * register before. Somebody who deletes a default tier later does not get it back.
 */
export async function createDefaultTiers(store: ResourceStore): Promise<void> {
  for (const kind of [PerfTier, Network, Endpoint]) {
    if ((await store.list(kind as typeof PerfTier, { limit: 1 })).items.length > 0) return
  }
  for (const { name, spec } of defaultPerfTiers) {
    try {
      await store.create(PerfTier, { metadata: { name, finalizers: [inUseFinalizer] }, spec })
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code !== 'Conflict') throw error
    }
  }
}
