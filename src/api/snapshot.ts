import { Type } from '@sinclair/typebox'
import { SpaceUsage } from './space-usage.ts'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'

/** Finalizer of control on a Snapshot: its copies in the pools are to go first. */
export const snapshotFinalizer = 'carbonado.io/pool'

/** The content of a volume at one instant. */
export const Snapshot = defineKind({
  ...carbonadoGroup,
  kind: 'Snapshot',
  plural: 'snapshots',
  shortNames: ['snap'],
  namespaced: false,
  selectableFields: ['spec.volumeName'],
  printerColumns: [
    { name: 'Volume', type: 'string', jsonPath: '.spec.volumeName' },
    { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
    { name: 'Taken', type: 'date', jsonPath: '.status.takenAt' },
    { name: 'Reason', type: 'string', jsonPath: '.status.message', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        volumeName: Type.String({ minLength: 1 }),
        /** Flush and freeze the filesystem for the instant it is taken; absent: as a power cut would leave it. */
        quiesce: Type.Optional(Type.Boolean()),
        /** Taken at one instant with all others of this group. */
        groupName: Type.Optional(Type.String()),
      },
      { additionalProperties: false },
    ),
    /** Written by control, from what the plexes say. */
    status: Type.Optional(
      Type.Object({
        phase: Type.Union(['Pending', 'Ready', 'Failed', 'Releasing'].map((phase) => Type.Literal(phase))),
        /** Why it is Pending or Failed: code of the error, what was wrong, what to do. */
        code: Type.Optional(Type.String()),
        message: Type.Optional(Type.String()),
        remedy: Type.Optional(Type.String()),
        volumeUid: Type.Optional(Type.String()),
        nodeNames: Type.Optional(Type.Array(Type.String())),
        takenAt: Type.Optional(Type.String()),
        /** Bytes of the volume when it was taken. */
        size: Type.Optional(Type.Integer()),
        filesystem: Type.Optional(Type.String()),
        /** Space that it takes on the drives. */
        usage: Type.Optional(SpaceUsage),
      }),
    ),
  },
})
export type Snapshot = ObjectOf<typeof Snapshot>

/** Finalizer of control on a SnapshotGroup: its snapshots are to go first. */
export const snapshotGroupFinalizer = 'carbonado.io/snapshots'

/** Snapshots of several volumes at one instant. */
export const SnapshotGroup = defineKind({
  ...carbonadoGroup,
  kind: 'SnapshotGroup',
  plural: 'snapshotgroups',
  namespaced: false,
  printerColumns: [
    { name: 'Volumes', type: 'string', jsonPath: '.spec.volumeNames' },
    { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
  ],
  schema: {
    spec: Type.Object(
      {
        volumeNames: Type.Array(Type.String({ minLength: 1 }), { minItems: 1, maxItems: 64, uniqueItems: true }),
        quiesce: Type.Optional(Type.Boolean()),
      },
      { additionalProperties: false },
    ),
    /** Written by control. */
    status: Type.Optional(
      Type.Object({
        phase: Type.Union(['Pending', 'Ready', 'Failed', 'Releasing'].map((phase) => Type.Literal(phase))),
        /** Why it is Pending or Failed: code of the error, what was wrong, what to do. */
        code: Type.Optional(Type.String()),
        message: Type.Optional(Type.String()),
        remedy: Type.Optional(Type.String()),
        snapshotNames: Type.Array(Type.String()),
        takenAt: Type.Optional(Type.String()),
      }),
    ),
  },
})
export type SnapshotGroup = ObjectOf<typeof SnapshotGroup>
