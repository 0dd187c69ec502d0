import { Type, type Static } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'

/** What a drive can really give, as fio measured it once; bandwidth in bytes per second. */
export const Calibration = Type.Object({
  /** 4 KiB random operations per second with many in flight. */
  readIops: Type.Integer(),
  writeIops: Type.Integer(),
  readBandwidth: Type.Integer(),
  writeBandwidth: Type.Integer(),
  /** Nanoseconds that a 4 KiB operation takes with nothing else under way. */
  latency: Type.Optional(Type.Integer()),
  measuredAt: Type.String(),
})
export type Calibration = Static<typeof Calibration>

/** How volumes are laid out on a drive; src/storage/pool-format.ts. */
export const PoolFormatName = Type.Union([Type.Literal('lvm-thin'), Type.Literal('file')])
export type PoolFormatName = Static<typeof PoolFormatName>

/** The pool on a formatted drive; sizes in bytes. */
export const PoolStatus = Type.Object({
  /** Stands on the drive itself; never used twice. */
  id: Type.String(),
  format: PoolFormatName,
  capacity: Type.Integer(),
  /** What is really taken on the drive. */
  used: Type.Integer(),
  /**
   * What of `used` is not a volume's alone: held by snapshots, shared, needed by the format. A volume may grow by what it
   * does not own alone, so volumes of all sizes plus this is what the pool must be able to hold.
   */
  held: Type.Integer(),
  /** When this was measured, by the clock that also dates snapshots. */
  measuredAt: Type.String(),
  /** Share of the format's own metadata space in use, 0 to 1, where it has a limit. */
  metadataUsed: Type.Optional(Type.Number()),
})
export type PoolStatus = Static<typeof PoolStatus>

/**
 * A whole block device of a node. The agent makes the object when it finds the device; an administrator asks for a pool
 * on it by `spec.format`.
 */
export const Drive = defineKind({
  ...carbonadoGroup,
  kind: 'Drive',
  plural: 'drives',
  namespaced: false,
  selectableFields: ['spec.nodeName'],
  printerColumns: [
    { name: 'Node', type: 'string', jsonPath: '.spec.nodeName' },
    { name: 'Device', type: 'string', jsonPath: '.spec.device' },
    { name: 'State', type: 'string', jsonPath: '.status.agent.state' },
    { name: 'Size', type: 'integer', jsonPath: '.status.agent.size' },
    { name: 'Promisable-IOPS', type: 'integer', jsonPath: '.status.capacity.iops.total' },
    { name: 'Promised-IOPS', type: 'integer', jsonPath: '.status.capacity.iops.promised' },
    { name: 'Reason', type: 'string', jsonPath: '.status.agent.message', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        nodeName: Type.String({ minLength: 1 }),
        /** Stable path of the device on its node, such as /dev/disk/by-id/nvme-... */
        device: Type.String({ pattern: '^/' }),
        /** Absent: the drive is left alone. */
        format: Type.Optional(
          Type.Object(
            {
              poolFormat: Type.Optional(PoolFormatName),
              /** Overwrites what is found on the drive; valid for this very value only, so that it never strikes twice. */
              force: Type.Optional(Type.Boolean()),
              /** Names the request: another one formats again. */
              requestId: Type.String({ minLength: 1, maxLength: 64 }),
            },
            { additionalProperties: false },
          ),
        ),
      },
      { additionalProperties: false },
    ),
    status: Type.Optional(
      Type.Object({
        /** Written by the agent of spec.nodeName. */
        agent: Type.Optional(
          Type.Object({
            state: Type.Union(
              ['Blank', 'Foreign', 'Formatting', 'Ready', 'Failed', 'Missing'].map((state) => Type.Literal(state)),
            ),
            size: Type.Integer(),
            model: Type.Optional(Type.String()),
            serial: Type.Optional(Type.String()),
            /** What else was found on the drive: partitions, filesystems, pools of others. */
            found: Type.Array(Type.String()),
            /** Which format request the state is of. */
            requestId: Type.Optional(Type.String()),
            /** The request that was refused, and why; nothing on the drive was changed. */
            refused: Type.Optional(Type.Object({ requestId: Type.String(), message: Type.String() })),
            message: Type.Optional(Type.String()),
            pool: Type.Optional(PoolStatus),
            calibration: Type.Optional(Calibration),
          }),
        ),
        /** Written by control: what volumes were promised of the pool. Bytes, and operations per second. */
        capacity: Type.Optional(
          Type.Object({
            space: Type.Object({ promised: Type.Integer(), total: Type.Integer() }),
            iops: Type.Object({ promised: Type.Integer(), total: Type.Integer() }),
          }),
        ),
      }),
    ),
  },
})
export type Drive = ObjectOf<typeof Drive>
