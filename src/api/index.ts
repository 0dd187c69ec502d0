import { AddressClaim, MacClaim } from './claims.ts'
import { Drive } from './drive.ts'
import { Endpoint } from './endpoint.ts'
import { Event } from './event.ts'
import type { KindDefinition } from './meta.ts'
import { Network } from './network.ts'
import { Node } from './node.ts'
import { PerfTier } from './perf-tier.ts'
import { Plex } from './plex.ts'
import { Snapshot, SnapshotGroup } from './snapshot.ts'
import { Volume } from './volume.ts'
import { VolumeAttachment } from './volume-attachment.ts'

export * from './claims.ts'
export * from './condition.ts'
export * from './drive.ts'
export * from './endpoint.ts'
export * from './event.ts'
export * from './kubernetes.ts'
export * from './kubernetes-quantity.ts'
export * from './lease.ts'
export * from './meta.ts'
export * from './network.ts'
export * from './node.ts'
export * from './perf-tier.ts'
export * from './plex.ts'
export * from './quantity.ts'
export * from './snapshot.ts'
export * from './space-usage.ts'
export * from './validation.ts'
export * from './volume-attachment.ts'
export * from './volume.ts'

/** Every kind that control serves. */
export const allKinds: KindDefinition<never>[] = [
  Node,
  Network,
  Endpoint,
  PerfTier,
  AddressClaim,
  MacClaim,
  Event,
  Drive,
  Volume,
  Plex,
  Snapshot,
  SnapshotGroup,
  VolumeAttachment,
].map((kind) => kind as KindDefinition<never>)
