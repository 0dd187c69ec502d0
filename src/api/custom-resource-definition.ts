import type { KindDefinition } from './meta.ts'
import { structuralSchema, type StructuralSchema } from './structural-schema.ts'

/** A CustomResourceDefinition of apiextensions.k8s.io/v1, as far as it is written here. */
export interface CustomResourceDefinition {
  apiVersion: 'apiextensions.k8s.io/v1'
  kind: 'CustomResourceDefinition'
  metadata: { name: string; labels: Record<string, string> }
  spec: Record<string, unknown>
}

/** The CRD of a kind, by which kube-apiserver serves, defaults, validates and shows its objects. */
export function customResourceDefinition(kind: KindDefinition): CustomResourceDefinition {
  const { group, version, plural, shortNames, namespaced } = kind
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/name': 'carbonado' } },
    spec: {
      group,
      scope: namespaced ? 'Namespaced' : 'Cluster',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural,
        singular: kind.kind.toLowerCase(),
        ...(shortNames.length > 0 ? { shortNames } : {}),
        categories: ['carbonado'],
      },
      versions: [versionOf(kind, version)],
    },
  }
}

function versionOf(kind: KindDefinition, name: string): Record<string, unknown> {
  const selectable = kind.selectableFields.map((path) => ({ jsonPath: `.${path}` }))
  return {
    name,
    served: true,
    storage: true,
    schema: { openAPIV3Schema: withKindFields(structuralSchema(kind.schema)) },
    ...(kind.hasStatus ? { subresources: { status: {} } } : {}),
    ...(selectable.length > 0 ? { selectableFields: selectable } : {}),
    additionalPrinterColumns: [...kind.printerColumns, { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }],
  } // prettier-ignore
}

/** apiVersion, kind and metadata are the server's own. */
function withKindFields(schema: StructuralSchema): StructuralSchema {
  const own = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' } } as const
  return { ...schema, properties: { ...own, ...schema.properties } }
}
