import { join } from 'node:path'
import { stringify } from 'yaml'
import * as api from '../../src/api/index.ts'
import { customResourceDefinition } from '../../src/api/custom-resource-definition.ts'
import type { StructuralSchema } from '../../src/api/structural-schema.ts'
import { DocumentationReader, type Documentation } from './doc-comments.ts'

const root = join(import.meta.dirname, '..', '..')

/** Folder of the generated files: templates of the chart, that `kubectl apply -f` takes as they are too. */
export const crdFolder = join(root, 'deploy', 'chart', 'templates', 'crds')

/** The CustomResourceDefinitions of our kinds as files: name and content. */
export function crdFiles(): Map<string, string> {
  const reader = new DocumentationReader()
  const kinds = api.allKinds.map((kind) => kind as api.KindDefinition).filter(({ group }) => group === 'carbonado.io')
  return new Map(kinds.map((kind) => [`${kind.plural}.yaml`, crdFile(kind, reader)]))
}

function crdFile(kind: api.KindDefinition, reader: DocumentationReader): string {
  const crd = customResourceDefinition(kind)
  const documentation = reader.read(join(root, 'src', 'api', 'index.ts'), kind.kind)
  const [version] = crd.spec.versions as [{ schema: { openAPIV3Schema: StructuralSchema } }]
  if (documentation) version.schema.openAPIV3Schema = documented(version.schema.openAPIV3Schema, documentation)
  // an uninstalled chart must not take volumes and networks with it
  const annotations = { 'helm.sh/resource-policy': 'keep' }
  const text = stringify({ ...crd, metadata: { ...crd.metadata, annotations } }, { aliasDuplicateObjects: false })
  return `# Generated from src/api by: node deploy/generate/main.ts\n${text}`
}

function documented(schema: StructuralSchema, { description, properties, items }: Documentation): StructuralSchema {
  const described = Object.entries(schema.properties ?? {}).map(([name, value]) => {
    const documentation = properties[name]
    return [name, documentation ? documented(value, documentation) : value] as const
  })
  return {
    ...(description ? { description } : {}),
    ...schema,
    ...(schema.properties ? { properties: Object.fromEntries(described) } : {}),
    ...(schema.items && items ? { items: documented(schema.items, items) } : {}),
  }
}
