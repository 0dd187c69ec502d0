import { Type, type Static } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'
import { Quantity } from './quantity.ts'

/** What an uplink is for. */
export const planes = ['pods', 'management', 'storage'] as const
export type Plane = (typeof planes)[number]

/** One uplink of a node. Without `rate` the link speed that the kernel reports is used. */
export const Uplink = Type.Object(
  {
    /** Network device, such as eth0 or bond0. */
    interface: Type.String({ pattern: '^[^/\\s]{1,15}$' }),
    /** Members when the interface is a bond. */
    bondMembers: Type.Optional(Type.Array(Type.String({ pattern: '^[^/\\s]{1,15}$' }))),
    /**
     * Bits per second. Of `pods`, and of a plane with a link of its own: what the link carries at most, less when the
     * kernel reports less. Of a plane that shares the link of `pods`: what is kept for it whatever containers send.
     */
    rate: Type.Optional(Quantity),
    /** Tag of the plane's frames on the interface; not needed for a VLAN device such as eth0.20, which says it itself. */
    vlan: Type.Optional(Type.Integer({ minimum: 1, maximum: 4094 })),
    /** Largest IP packet in bytes that the link carries, without the VLAN tag. */
    mtu: Type.Optional(Type.Integer({ minimum: 1280, maximum: 65535 })),
  },
  { additionalProperties: false },
)
export type Uplink = Static<typeof Uplink>

/** What an agent found of the uplink of one plane. */
export const FoundUplink = Type.Object({
  plane: Type.Union([Type.Literal('pods'), Type.Literal('management'), Type.Literal('storage')]),
  interface: Type.String(),
  /** The device or bond that carries the frames in the end, such as bond0 for bond0.20: planes with the same one share it. */
  link: Type.String(),
  /** Tag of the plane's frames on the link. */
  vlan: Type.Optional(Type.Integer()),
  /** Bits per second that the link gives now; 0 without carrier, or when nobody knows. */
  linkRate: Type.Integer(),
  mtu: Type.Integer(),
  carrier: Type.Boolean(),
  /** Of a bond: members that are `up` have a link, `active` ones carry frames; `rate` as the kernel reports. */
  members: Type.Optional(
    Type.Array(
      Type.Object({
        name: Type.String(),
        up: Type.Boolean(),
        active: Type.Boolean(),
        rate: Type.Optional(Type.Integer()),
      }),
    ),
  ),
})
export type FoundUplink = Static<typeof FoundUplink>

const Verdict = Type.Object({
  state: Type.Boolean(),
  reason: Type.String(),
  message: Type.String(),
  since: Type.String(),
})

const Promised = Type.Object({ promised: Type.Integer(), total: Type.Integer() })

/** A server. Spec is written by its administrator, status by its agent except what is marked as control's. */
export const Node = defineKind({
  ...carbonadoGroup,
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
  printerColumns: [
    { name: 'Ready', type: 'boolean', jsonPath: '.status.ready.state' },
    { name: 'Promised', type: 'integer', jsonPath: '.status.capacity.bandwidth.promised' },
    { name: 'Bandwidth', type: 'integer', jsonPath: '.status.capacity.bandwidth.total' },
    { name: 'Interfaces', type: 'integer', jsonPath: '.status.capacity.interfaces.promised' },
    { name: 'Reason', type: 'string', jsonPath: '.status.ready.message', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        /** One uplink per plane; planes without an entry of their own share that of `pods`. */
        uplinks: Type.Object(
          { pods: Uplink, management: Type.Optional(Uplink), storage: Type.Optional(Uplink) },
          { additionalProperties: false },
        ),
        zone: Type.Optional(Type.String()),
        /** Most interfaces of containers and VMs on the node. */
        maximumInterfaces: Type.Integer({ minimum: 1, maximum: 4000, default: 1000 }),
        /** Most volumes that orchestrators use on the node at one time; 256 when absent. */
        maximumVolumes: Type.Optional(Type.Integer({ minimum: 1, maximum: 256 })),
      },
      { additionalProperties: false },
    ),
    status: Type.Optional(
      Type.Object({
        /** Written by control from the age of `agent.heartbeat`. */
        ready: Type.Optional(Verdict),
        /** Written by control: whether the uplink can carry all floors that were promised on the node. */
        promises: Type.Optional(Verdict),
        /**
         * Written by control: sums of what was promised on the node; bandwidth in bits per second; IOPS and bytes of its
         * drives, absent while it has no pool.
         */
        capacity: Type.Optional(
          Type.Object({
            bandwidth: Promised,
            interfaces: Promised,
            iops: Type.Optional(Promised),
            space: Type.Optional(Promised),
          }),
        ),
        /**
         * Written by control when the agent names `hostAddresses`: what the node has in every VLAN of pods, and no other
         * node of the cluster has.
         */
        hostAddress: Type.Optional(Type.String()),
        /** Written by the agent. */
        agent: Type.Optional(
          Type.Object({
            heartbeat: Type.String(),
            /** host:port of the agent's HTTPS server. */
            address: Type.String(),
            version: Type.String(),
            /** Bits per second that the pods uplink gives now; 0 without carrier, or when nobody knows. */
            linkRate: Type.Integer(),
            mtu: Type.Integer(),
            carrier: Type.Boolean(),
            /** CIDR that the address by which pods reach the node is to be from; absent: they need none. */
            hostAddresses: Type.Optional(Type.String()),
            /** Every plane that the spec names. */
            uplinks: Type.Optional(Type.Array(FoundUplink)),
            /** What `dctl node check` shows; empty when all is well. */
            problems: Type.Array(Type.Object({ reason: Type.String(), message: Type.String(), remedy: Type.String() })),
          }),
        ),
      }),
    ),
  },
})
export type Node = ObjectOf<typeof Node>
