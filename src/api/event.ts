import { Type } from '@sinclair/typebox'
import { defineKind, type ObjectOf } from './meta.ts'

/** Something that happened, in the shape of events.k8s.io/v1. */
export const Event = defineKind({
  group: 'events.k8s.io',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  shortNames: ['ev'],
  namespaced: true,
  selectableFields: ['regarding.kind', 'regarding.name', 'type', 'reason'],
  schema: {
    eventTime: Type.String(),
    /** How often and when last, for an event that repeats. */
    series: Type.Optional(Type.Object({ count: Type.Integer({ minimum: 2 }), lastObservedTime: Type.String() })),
    reportingController: Type.String(),
    reportingInstance: Type.String(),
    action: Type.String(),
    reason: Type.String(),
    regarding: Type.Object({
      apiVersion: Type.Optional(Type.String()),
      kind: Type.String(),
      namespace: Type.Optional(Type.String()),
      name: Type.String(),
      uid: Type.Optional(Type.String()),
    }),
    note: Type.String({ maxLength: 1024 }),
    type: Type.Union([Type.Literal('Normal'), Type.Literal('Warning')]),
  },
})
export type Event = ObjectOf<typeof Event>
