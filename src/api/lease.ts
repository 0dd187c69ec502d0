import { Type } from '@sinclair/typebox'
import { defineKind, type ObjectOf } from './meta.ts'

/** Who leads, in the shape of coordination.k8s.io/v1. The API server of Kubernetes serves it; control does not. */
export const Lease = defineKind({
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
  schema: {
    spec: Type.Object({
      holderIdentity: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      leaseDurationSeconds: Type.Optional(Type.Integer({ minimum: 1 })),
      acquireTime: Type.Optional(Type.String()),
      /** RFC 3339 with microseconds. Only whether it changes matters: the clocks of two machines may differ. */
      renewTime: Type.Optional(Type.String()),
      leaseTransitions: Type.Optional(Type.Integer()),
    }),
  },
})
export type Lease = ObjectOf<typeof Lease>
