import type { FastifyRequest } from 'fastify'
import type { KindDefinition, KubeObject } from '../api/index.ts'
import { formatAge } from '../verb/index.ts'

/** Whether a client, such as kubectl, would rather have lines and columns than objects (Kubernetes API concepts, "Receiving resources as Tables"). */
export function wantsTable({ headers }: FastifyRequest): boolean {
  return /(^|,)\s*application\/json\s*;\s*as=Table\s*;\s*v=v1\s*;\s*g=meta\.k8s\.io/.test(headers.accept ?? '')
}

/** Objects as a Table, with the columns that their kind has as a CRD. `metadata` is that of the list. */
export function tableOf(
  kind: KindDefinition,
  items: KubeObject[],
  metadata: object,
  { includeObject, now }: { includeObject?: string; now: Date },
): object {
  const columns = [
    ...kind.printerColumns,
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' } as const,
  ]
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: [
      { name: 'Name', type: 'string', format: 'name', description: '', priority: 0 },
      ...columns.map((column) => ({ name: column.name, type: column.type, format: '', description: '', priority: 'priority' in column ? (column.priority ?? 0) : 0 })),
    ],
    rows: items.map((item) => ({
      cells: [item.metadata.name, ...columns.map(({ type, jsonPath }) => cell(valueAt(item, jsonPath), type, now))],
      ...(includeObject === 'None' ? {} : { object: includeObject === 'Object' ? item : onlyMetadata(item) }),
    })),
  } // prettier-ignore
}

function onlyMetadata({ metadata }: KubeObject): object {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
}

/** The paths of printer columns have names and numbered members only: `.spec.subnets[0].cidr`. */
function valueAt(object: KubeObject, jsonPath: string): unknown {
  let value: unknown = object
  for (const step of jsonPath.split(/[.[\]]/).filter((part) => part !== '')) {
    value = (value as Record<string, unknown> | null | undefined)?.[step]
  }
  return value ?? null
}

function cell(value: unknown, type: string, now: Date): unknown {
  if (value === null) return null
  if (type === 'date') return formatAge(value as string, now) ?? null
  return typeof value === 'object' ? JSON.stringify(value) : value
}
