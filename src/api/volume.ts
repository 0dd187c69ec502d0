import { Type, type Static } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'
import { SpaceUsage } from './space-usage.ts'
import { Quantity } from './quantity.ts'

/** Finalizer of control on a Volume: its plexes are to go first. */
export const volumeFinalizer = 'carbonado.io/plexes'

/** Filesystems that a volume can be formatted with. */
export const FilesystemType = Type.Union([Type.Literal('ext4'), Type.Literal('xfs')])
export type FilesystemType = Static<typeof FilesystemType>

/** What a volume starts as; absent: empty. */
export const VolumeSource = Type.Union([
  Type.Object({ snapshotName: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
  Type.Object({ volumeName: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
])
export type VolumeSource = Static<typeof VolumeSource>

/** A block device with a floor and a cap of IOPS, kept in one to three plexes (copies). */
export const Volume = defineKind({
  ...carbonadoGroup,
  kind: 'Volume',
  plural: 'volumes',
  shortNames: ['vol'],
  namespaced: false,
  printerColumns: [
    { name: 'Size', type: 'string', jsonPath: '.spec.size' },
    { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
    { name: 'Tier', type: 'string', jsonPath: '.status.perfTierName' },
    { name: 'Node', type: 'string', jsonPath: '.status.plexes[0].nodeName' },
    { name: 'IOPS', type: 'integer', jsonPath: '.status.iopsFloor' },
    { name: 'Reason', type: 'string', jsonPath: '.status.message', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        /** Bytes; grows only. */
        size: Quantity,
        perfTierName: Type.Optional(Type.String()),
        /** Absent on a raw block volume. */
        filesystem: Type.Optional(FilesystemType),
        mirrorCount: Type.Integer({ minimum: 1, maximum: 3, default: 1 }),
        source: Type.Optional(VolumeSource),
        /** Nodes that its plexes may be on; absent: any. */
        nodeNames: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
        /** Of these nodes the first one that it fits on is taken; absent, or when it fits on none: where most is left. */
        preferredNodeNames: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
        /** Nodes are chosen by these labels of theirs. */
        selector: Type.Optional(Type.Record(Type.String(), Type.String())),
        /** Its content is replaced by that of this snapshot of it; taken while it is not attached. */
        restore: Type.Optional(
          Type.Object(
            { snapshotName: Type.String({ minLength: 1 }), requestId: Type.String({ minLength: 1, maxLength: 64 }) },
            { additionalProperties: false },
          ),
        ),
      },
      { additionalProperties: false },
    ),
    /** Written by control, from what it decided and what the plexes say. */
    status: Type.Optional(
      Type.Object({
        phase: Type.Union(['Pending', 'Available', 'Refused', 'Releasing'].map((phase) => Type.Literal(phase))),
        generation: Type.Integer(),
        /** Why it is Pending or Refused: code of the error, what was wrong, what to do. */
        code: Type.Optional(Type.String()),
        message: Type.Optional(Type.String()),
        remedy: Type.Optional(Type.String()),
        /** Bytes that a user can count on now. */
        size: Type.Optional(Type.Integer()),
        /** Bytes of the device, while its filesystem has not followed. */
        deviceSize: Type.Optional(Type.Integer()),
        perfTierName: Type.Optional(Type.String()),
        /** Operations per second promised; 0 is best effort. */
        iopsFloor: Type.Optional(Type.Integer()),
        /** Operations per second never exceeded. */
        iopsCap: Type.Optional(Type.Integer()),
        plexes: Type.Array(Type.Object({ name: Type.String(), nodeName: Type.String(), driveName: Type.String() })),
        /** Plexes that have every acknowledged write: only these may serve it. */
        inSync: Type.Array(Type.String()),
        /** Space that it takes on the drives, beside its snapshots. */
        usage: Type.Optional(SpaceUsage),
        restoredRequestId: Type.Optional(Type.String()),
        /** Share done of a copy from another node, 0 to 1. */
        progress: Type.Optional(Type.Number()),
      }),
    ),
  },
})
export type Volume = ObjectOf<typeof Volume>
