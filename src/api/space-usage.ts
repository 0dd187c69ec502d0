import { Type, type Static } from '@sinclair/typebox'

/** Bytes that a volume or snapshot takes on its drives. */
export const SpaceUsage = Type.Object({
  /** Nobody else holds these. */
  own: Type.Integer(),
  /** Snapshots and clones hold these, too. */
  shared: Type.Integer(),
  /** These come back when it is deleted; absent while the agent is of a version that does not tell. */
  reclaimable: Type.Optional(Type.Integer()),
})
export type SpaceUsage = Static<typeof SpaceUsage>
