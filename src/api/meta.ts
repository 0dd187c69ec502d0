import { Type, type Static, type TObject, type TSchema } from '@sinclair/typebox'

/** A Kubernetes object name: RFC 1123 subdomain, at most 253 characters. */
export const namePattern = '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'

export const OwnerReference = Type.Object({
  apiVersion: Type.String(),
  kind: Type.String(),
  name: Type.String(),
  uid: Type.String(),
  controller: Type.Optional(Type.Boolean()),
  blockOwnerDeletion: Type.Optional(Type.Boolean()),
})
export type OwnerReference = Static<typeof OwnerReference>

/** Object metadata as in the Kubernetes API conventions; the server fills uid, resourceVersion and times. */
export const ObjectMeta = Type.Object({
  name: Type.String({ pattern: namePattern, maxLength: 253 }),
  namespace: Type.Optional(Type.String({ pattern: namePattern, maxLength: 63 })),
  uid: Type.Optional(Type.String()),
  resourceVersion: Type.Optional(Type.String()),
  generation: Type.Optional(Type.Integer()),
  creationTimestamp: Type.Optional(Type.String()),
  deletionTimestamp: Type.Optional(Type.String()),
  labels: Type.Optional(Type.Record(Type.String(), Type.String())),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
  finalizers: Type.Optional(Type.Array(Type.String())),
  ownerReferences: Type.Optional(Type.Array(OwnerReference)),
})
export type ObjectMeta = Static<typeof ObjectMeta>

/** What every object has; a kind adds its own top-level fields (mostly `spec` and `status`). */
export interface KubeObject {
  apiVersion?: string
  kind?: string
  metadata: ObjectMeta
}

/** A column of a table as the API server makes it. */
export interface PrinterColumn {
  name: string
  type: 'string' | 'integer' | 'number' | 'boolean' | 'date'
  jsonPath: string
  /** 0 is always shown, 1 only by `-o wide`. */
  priority?: number
}

/** One definition of a kind: from it come types, validation and REST paths, and later CRDs and OpenAPI. */
export interface KindDefinition<T extends KubeObject = KubeObject> {
  group: string
  version: string
  kind: string
  plural: string
  shortNames: string[]
  namespaced: boolean
  /** Whether `status` is a subresource of its own: ordinary writes cannot change it and status writes nothing else. */
  hasStatus: boolean
  /** Everything beside apiVersion, kind and metadata. */
  schema: TObject
  /** JSON paths that a field selector may name, beside metadata.name and metadata.namespace. */
  selectableFields: string[]
  /** Columns that tables of the API server (`kubectl get`) show between name and age. */
  printerColumns: PrinterColumn[]
  /** Only for the type parameter; never set. */
  readonly __object?: T
}

/** The object type of a kind definition. */
export type ObjectOf<D> = D extends KindDefinition<infer T> ? T : never

/** Makes a kind definition whose object type follows from its schema. */
export function defineKind<S extends Record<string, TSchema>>(definition: {
  group: string
  version: string
  kind: string
  plural: string
  shortNames?: string[]
  namespaced: boolean
  schema: S
  selectableFields?: string[]
  printerColumns?: PrinterColumn[]
}): KindDefinition<KubeObject & Static<TObject<S>>> {
  return {
    shortNames: [],
    selectableFields: [],
    printerColumns: [],
    ...definition,
    hasStatus: 'status' in definition.schema,
    schema: Type.Object(definition.schema, { additionalProperties: false }),
  }
}

/** `group/version` as it stands in an object's apiVersion; the core group of Kubernetes has no name. */
export function apiVersionOf({ group, version }: KindDefinition): string {
  return group === '' ? version : `${group}/${version}`
}

/** The group and version of Carbonado's own kinds. */
export const carbonadoGroup = { group: 'carbonado.io', version: 'v1alpha1' } as const
