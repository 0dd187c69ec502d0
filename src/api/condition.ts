import { Type, type Static } from '@sinclair/typebox'

/** One thing that is or is not so about an object, in the shape that all Kubernetes kinds have. */
export const Condition = Type.Object({
  /** `AddressUnique`; one condition of each type. */
  type: Type.String({ minLength: 1, maxLength: 316 }),
  status: Type.Union([Type.Literal('True'), Type.Literal('False'), Type.Literal('Unknown')]),
  /** A stable word in CamelCase. */
  reason: Type.String({ minLength: 1, maxLength: 1024 }),
  message: Type.String({ maxLength: 32_768 }),
  /** When `status` became what it is, ISO 8601. */
  lastTransitionTime: Type.String(),
})
export type Condition = Static<typeof Condition>
