import { apiVersionOf, type KindDefinition, type KubeObject } from '../api/index.ts'
import type { VerbContext } from './context.ts'
import { renderTable, type Column } from './table.ts'

/** Prints several objects: a table, or one list object as the API serves it. */
export async function printList<T extends KubeObject>(
  context: VerbContext,
  kind: KindDefinition<T>,
  objects: T[],
  columns: Column<T>[],
): Promise<void> {
  if (isTable(context)) return printTable(context, columns, objects)
  await printDocument(context, {
    apiVersion: apiVersionOf(kind as KindDefinition),
    kind: `${kind.kind}List`,
    items: objects,
  })
}

/** Prints named objects: a table, the object itself when it is one, or a list of them. */
export async function printNamed<T extends KubeObject>(
  context: VerbContext,
  kind: KindDefinition<T>,
  objects: T[],
  columns: Column<T>[],
): Promise<void> {
  if (objects.length === 1 && !isTable(context)) return printDocument(context, objects[0])
  await printList(context, kind, objects, columns)
}

/** Prints rows that are no API objects: a table, or `{items: rows}`. */
export async function printRows<T>(context: VerbContext, rows: T[], columns: Column<T>[]): Promise<void> {
  if (isTable(context)) return printTable(context, columns, rows)
  await printDocument(context, { items: rows })
}

/** Prints a value as JSON or YAML, whichever the user asked for (JSON for the table formats). */
export async function printDocument(context: VerbContext, value: unknown): Promise<void> {
  if (context.output !== 'yaml') return context.print(JSON.stringify(value, null, 2))
  const yaml = await import('yaml')
  context.print(yaml.stringify(value, { lineWidth: 0, aliasDuplicateObjects: false }).trimEnd())
}

/** Whether the user wants text for people rather than objects for programs. */
export function isTable(context: VerbContext): boolean {
  return context.output === 'simple' || context.output === 'wide'
}

/** Says what a verb changed: a sentence for people, the object for programs. */
export async function printChanged(context: VerbContext, object: KubeObject, sentence: string): Promise<void> {
  if (isTable(context)) context.print(sentence)
  else await printDocument(context, object)
}

function printTable<T>(context: VerbContext, columns: Column<T>[], rows: T[]): void {
  context.print(renderTable(columns, rows, { wide: context.output === 'wide' }))
}
