import { Type, type Static } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'

/** An IPv4 or IPv6 subnet with the ranges that addresses are drawn from. */
export const Subnet = Type.Object(
  {
    /** CIDR with no host bits set, such as 10.30.0.0/24 or fd00:30::/64. */
    cidr: Type.String(),
    /** Inclusive ranges. Empty: all host addresses of an IPv4 subnet, the first 2^16 of an IPv6 one. */
    ranges: Type.Array(Type.Object({ start: Type.String(), end: Type.String() }, { additionalProperties: false }), {
      default: [],
    }),
    /** Default route of the endpoints; never handed out. */
    gateway: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type Subnet = Static<typeof Subnet>

/** An L2 network of the data centre: one VLAN on the uplink of one plane, with at most one subnet per IP family. */
export const Network = defineKind({
  ...carbonadoGroup,
  kind: 'Network',
  plural: 'networks',
  shortNames: ['net'],
  namespaced: false,
  printerColumns: [
    { name: 'VLAN', type: 'integer', jsonPath: '.spec.vlan' },
    { name: 'Subnet', type: 'string', jsonPath: '.spec.subnets[0].cidr' },
    { name: 'Gateway', type: 'string', jsonPath: '.spec.subnets[0].gateway' },
    { name: 'Used', type: 'integer', jsonPath: '.status.usage.used' },
    { name: 'Total', type: 'integer', jsonPath: '.status.usage.total' },
    { name: 'Default', type: 'boolean', jsonPath: '.spec.isDefault' },
    { name: 'Tier', type: 'string', jsonPath: '.spec.perfTierName', priority: 1 },
    { name: 'Group', type: 'string', jsonPath: '.spec.networkGroup', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        subnets: Type.Array(Subnet, { minItems: 1, maxItems: 2 }),
        /** 802.1Q VLAN id; absent means untagged frames. */
        vlan: Type.Optional(Type.Integer({ minimum: 1, maximum: 4094 })),
        plane: Type.Union([Type.Literal('pods'), Type.Literal('storage')], { default: 'pods' }),
        /** Tier of endpoints that name none. */
        perfTierName: Type.Optional(Type.String()),
        networkGroup: Type.Optional(Type.String()),
        zone: Type.Optional(Type.String()),
        /** Used by containers that ask for no network by name; at most one network has it. */
        isDefault: Type.Boolean({ default: false }),
        /**
         * Only for further interfaces of pods. On Kubernetes, where a pod is known by its address, only subnets of such
         * networks may overlap with those of others.
         */
        isSecondary: Type.Optional(Type.Boolean()),
        /** MTU of the endpoints in bytes; absent means what the uplink carries less the tag (DCTL: 1496 on 1500). */
        mtu: Type.Optional(Type.Integer({ minimum: 1280, maximum: 65535 })),
      },
      { additionalProperties: false },
    ),
    /** Written by control. */
    status: Type.Optional(
      Type.Object({
        usage: Type.Optional(Type.Object({ total: Type.Integer(), used: Type.Integer() })),
      }),
    ),
  },
})
export type Network = ObjectOf<typeof Network>

/** The L2 domain of a network, `PLANE-VLAN` with 0 for untagged: addresses and MACs are unique within it. */
export function l2DomainOf(network: Network): string {
  return `${network.spec.plane}-${network.spec.vlan ?? 0}`
}
