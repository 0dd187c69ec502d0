import { Type, type Static } from '@sinclair/typebox'
import { Condition } from './condition.ts'
import { carbonadoGroup, defineKind, type KubeObject, type ObjectOf } from './meta.ts'

/** Finalizer held by the agent of `spec.nodeName` from before the first datapath entry until after the last is gone. */
export const attachmentFinalizer = 'carbonado.io/attachment'

/** Whether an endpoint belongs to a pod of Kubernetes: it keeps its addresses for as long as the pod exists. */
export function isOwnedByPod({ metadata }: KubeObject): boolean {
  return metadata.ownerReferences?.some(({ apiVersion, kind }) => apiVersion === 'v1' && kind === 'Pod') ?? false
}

/** Which container interface holds the endpoint. */
export const Holder = Type.Object(
  {
    containerId: Type.String({ minLength: 1, maxLength: 256 }),
    interfaceName: Type.String({ pattern: '^[^/:\\s]{1,15}$' }),
    /** Interface of the same container with which this one comes and goes; absent: this is the primary, or on its own. */
    primaryInterface: Type.Optional(Type.String({ pattern: '^[^/:\\s]{1,15}$' })),
    /** The pod as CNI_ARGS named it, where the runtime did. */
    pod: Type.Optional(
      Type.Object({ namespace: Type.String(), name: Type.String(), uid: Type.Optional(Type.String()) }),
    ),
  },
  { additionalProperties: false },
)
export type Holder = Static<typeof Holder>

export const AllocatedAddress = Type.Object({
  address: Type.String(),
  prefixLength: Type.Integer(),
  gateway: Type.Optional(Type.String()),
})
export type AllocatedAddress = Static<typeof AllocatedAddress>

/** What control gave an endpoint: everything an engine needs to attach it. Rates in bits per second. */
export const Allocation = Type.Object({
  state: Type.Literal('Allocated'),
  /** Which holder and node this was decided for: `generation` of the endpoint. */
  generation: Type.Integer(),
  addresses: Type.Array(AllocatedAddress),
  macAddress: Type.String(),
  /** 0 is untagged. */
  vlan: Type.Integer(),
  /** MTU asked for by the network; absent means what the uplink carries. */
  mtu: Type.Optional(Type.Integer()),
  perfTierName: Type.Optional(Type.String()),
  /** Promised to be there for sending; 0 is best effort. */
  bandwidthFloor: Type.Integer(),
  /** Never exceeded, each direction; absent is no cap. */
  bandwidthCap: Type.Optional(Type.Integer()),
})
export type Allocation = Static<typeof Allocation>

/** Why control could not give the endpoint what it asked for. `code` is an ErrorCode. */
export const Refusal = Type.Object({
  state: Type.Literal('Refused'),
  generation: Type.Integer(),
  code: Type.String(),
  message: Type.String(),
  remedy: Type.Optional(Type.String()),
})
export type Refusal = Static<typeof Refusal>

/** One interface of one container or VM. */
export const Endpoint = defineKind({
  ...carbonadoGroup,
  kind: 'Endpoint',
  plural: 'endpoints',
  shortNames: ['ep'],
  namespaced: true,
  selectableFields: ['spec.nodeName', 'spec.networkName'],
  printerColumns: [
    { name: 'Network', type: 'string', jsonPath: '.spec.networkName' },
    { name: 'IP', type: 'string', jsonPath: '.status.allocation.addresses[0].address' },
    { name: 'MAC', type: 'string', jsonPath: '.status.allocation.macAddress' },
    { name: 'Node', type: 'string', jsonPath: '.spec.nodeName' },
    { name: 'State', type: 'string', jsonPath: '.status.allocation.state' },
    { name: 'Tier', type: 'string', jsonPath: '.status.allocation.perfTierName' },
    { name: 'VLAN', type: 'integer', jsonPath: '.status.allocation.vlan', priority: 1 },
    { name: 'Interface', type: 'string', jsonPath: '.spec.holder.interfaceName', priority: 1 },
    { name: 'Static', type: 'boolean', jsonPath: '.spec.isStatic', priority: 1 },
    { name: 'Reason', type: 'string', jsonPath: '.status.allocation.message', priority: 1 },
  ],
  schema: {
    spec: Type.Object(
      {
        networkName: Type.String({ minLength: 1 }),
        /** Addresses asked for, at most one per IP family; absent: any free one. */
        addresses: Type.Optional(Type.Array(Type.String(), { maxItems: 2 })),
        /** Unicast MAC asked for; absent: a locally administered one. */
        macAddress: Type.Optional(Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' })),
        perfTierName: Type.Optional(Type.String()),
        /** A static endpoint outlives its holders and keeps its addresses and MAC. */
        isStatic: Type.Boolean({ default: false }),
        /** Where it is attached, or is to be; absent while a static endpoint has no holder. */
        nodeName: Type.Optional(Type.String()),
        holder: Type.Optional(Holder),
      },
      { additionalProperties: false },
    ),
    status: Type.Optional(
      Type.Object({
        /** Written by control. */
        allocation: Type.Optional(Type.Union([Allocation, Refusal])),
        /** Written by the agent of spec.nodeName; null or absent when nothing is attached. */
        attachment: Type.Optional(
          Type.Union([
            Type.Object({
              nodeName: Type.String(),
              containerId: Type.String(),
              hostInterface: Type.String(),
              since: Type.String(),
              /**
               * Of a primary interface: all interfaces of the container, as the annotation
               * k8s.v1.cni.cncf.io/network-status of its pod has them (JSON).
               */
              networkStatus: Type.Optional(Type.String()),
            }),
            Type.Null(),
          ]),
        ),
        /** Written by the agent of spec.nodeName; null or absent where there is nothing to say. */
        conditions: Type.Optional(Type.Union([Type.Array(Condition, { maxItems: 16 }), Type.Null()])),
      }),
    ),
  },
})
export type Endpoint = ObjectOf<typeof Endpoint>

/**
 * Whether control has decided about a generation of an endpoint, the present one unless told. What a pod was given stays
 * right whichever of its sandboxes holds it: node and network of such an endpoint never change, and rates follow its tier
 * by themselves.
 */
export function isDecidedAbout({ metadata, spec, status }: Endpoint, generation = metadata.generation ?? 0): boolean {
  const decision = status?.allocation
  if (!decision) return false
  const isForAnyHolder = decision.state === 'Allocated' && !spec.isStatic && isOwnedByPod({ metadata })
  return isForAnyHolder || decision.generation >= generation
}
