import { Type } from '@sinclair/typebox'
import { SpaceUsage } from './space-usage.ts'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'

/** Finalizer of the agent of `spec.nodeName`: there may be something of the plex on the drive. */
export const plexFinalizer = 'carbonado.io/pool'

/** One copy of a volume, in the pool of one drive. Named `VOLUME.p0`, `.p1`, `.p2`. Spec is written by control. */
export const Plex = defineKind({
  ...carbonadoGroup,
  kind: 'Plex',
  plural: 'plexes',
  namespaced: false,
  selectableFields: ['spec.nodeName', 'spec.volumeName'],
  printerColumns: [
    { name: 'Volume', type: 'string', jsonPath: '.spec.volumeName' },
    { name: 'Node', type: 'string', jsonPath: '.spec.nodeName' },
    { name: 'Drive', type: 'string', jsonPath: '.spec.driveName' },
    { name: 'State', type: 'string', jsonPath: '.status.state' },
    { name: 'Reason', type: 'string', jsonPath: '.status.message', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        volumeName: Type.String({ minLength: 1 }),
        volumeUid: Type.String({ minLength: 1 }),
        nodeName: Type.String({ minLength: 1 }),
        driveName: Type.String({ minLength: 1 }),
        poolId: Type.String({ minLength: 1 }),
        /** Bytes. */
        size: Type.Integer({ minimum: 1 }),
        /** Operations per second; floor 0 is best effort, no cap when absent. */
        iopsFloor: Type.Integer({ minimum: 0 }),
        iopsCap: Type.Optional(Type.Integer({ minimum: 1 })),
        /** What it starts as: a plex or a snapshot by their uid; copied when it lies on another drive. */
        source: Type.Optional(
          Type.Object({
            uid: Type.String(),
            kind: Type.Union([Type.Literal('Plex'), Type.Literal('Snapshot')]),
            nodeName: Type.String(),
            driveName: Type.String(),
            /** Bytes to be copied. */
            size: Type.Integer({ minimum: 1 }),
          }),
        ),
        /** Snapshots that are to exist of it. Members of a group are taken at one instant. */
        snapshots: Type.Array(
          Type.Object({
            uid: Type.String(),
            name: Type.String(),
            groupUid: Type.Optional(Type.String()),
            /** Plexes of the group on this node: the snapshot waits until all of them ask for it. */
            groupPlexes: Type.Optional(Type.Array(Type.String())),
            quiesce: Type.Optional(Type.Boolean()),
          }),
          { default: [] },
        ),
        restore: Type.Optional(Type.Object({ snapshotUid: Type.String(), requestId: Type.String() })),
      },
      { additionalProperties: false },
    ),
    /** Written by the agent of spec.nodeName. */
    status: Type.Optional(
      Type.Object({
        state: Type.Union(['Pending', 'Up', 'Down', 'Detached'].map((state) => Type.Literal(state))),
        generation: Type.Integer(),
        /** Why it is not Up. */
        message: Type.Optional(Type.String()),
        size: Type.Optional(Type.Integer()),
        /** Bytes of its device, while the filesystem on it has not followed. */
        deviceSize: Type.Optional(Type.Integer()),
        /** When it came to be in the pool. */
        madeAt: Type.Optional(Type.String()),
        /** Space that it takes on the drive, beside its snapshots. */
        usage: Type.Optional(SpaceUsage),
        /** Share done of a copy from another node, 0 to 1. */
        progress: Type.Optional(Type.Number()),
        restoredRequestId: Type.Optional(Type.String()),
        snapshots: Type.Array(
          Type.Object({
            uid: Type.String(),
            /** RFC 3339, with milliseconds; absent before it is taken and when it failed. */
            takenAt: Type.Optional(Type.String()),
            /** Bytes of the plex when it was taken. */
            size: Type.Optional(Type.Integer()),
            failure: Type.Optional(Type.String()),
            usage: Type.Optional(SpaceUsage),
          }),
        ),
      }),
    ),
  },
})
export type Plex = ObjectOf<typeof Plex>
