import { AddressClaim, MacClaim } from './claims.ts'
import { Endpoint } from './endpoint.ts'
import { Event } from './event.ts'
import type { KindDefinition } from './meta.ts'
import { Network } from './network.ts'
import { Node } from './node.ts'
import { PerfTier } from './perf-tier.ts'

export * from './claims.ts'
export * from './endpoint.ts'
export * from './event.ts'
export * from './meta.ts'
export * from './network.ts'
export * from './node.ts'
export * from './perf-tier.ts'
export * from './quantity.ts'
export * from './validation.ts'

/** Every kind that control serves. */
export const allKinds: KindDefinition<never>[] = [Node, Network, Endpoint, PerfTier, AddressClaim, MacClaim, Event].map(
  (kind) => kind as KindDefinition<never>,
)
