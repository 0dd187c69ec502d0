import type { KindDefinition, KubeObject } from '../../api/index.ts'
import { NotFound } from '../../base/index.ts'
import type { SyncReader } from '../admission.ts'
import type { ObjectReference, Selection } from '../resource-store.ts'
import { compileSelection, wantedField } from '../selector.ts'
import { keyOf } from './object-rules.ts'
import { ObjectTable } from './object-table.ts'

/** The name that a kind has in tables and in the file. */
export function tableName(kind: KindDefinition): string {
  return `${kind.group}/${kind.plural}`
}

/** The objects of all kinds in memory, a table for each kind. All of them are frozen and shared. */
export class ObjectTables {
  readonly #tables = new Map<string, ObjectTable>()

  /** The table of a name that `tableName` gave; an empty one when there is none yet. */
  named(name: string): ObjectTable {
    const known = this.#tables.get(name)
    if (known) return known
    const table = new ObjectTable()
    this.#tables.set(name, table)
    return table
  }

  /** The table of a kind. */
  of(kind: KindDefinition): ObjectTable {
    return this.named(tableName(kind))
  }

  /** One object. Throws NotFound, or InvalidInput when the reference has a namespace too many or too few. */
  existing<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): T {
    const found = this.of(kind).get(keyOf(kind, reference))
    if (found) return found as T
    const where = reference.namespace ? ` in namespace "${reference.namespace}"` : ''
    throw new NotFound(`${kind.kind} "${reference.name}"${where} does not exist`, {
      remedy: `List what there is, for example with \`dctl ${kind.kind.toLowerCase()} list\`.`,
    })
  }

  /** Those that match, ordered by namespace and name. Throws InvalidInput for a selector that cannot be read. */
  select(kind: KindDefinition, selection: Selection): KubeObject[] {
    return this.of(kind).select(kind, compileSelection(kind, selection), wantedField(kind, selection))
  }

  /** Reads what is in memory at the moment of each call. */
  reader(): SyncReader {
    return {
      get: <T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference) =>
        this.of(kind).get(keyOf(kind, reference)) as T | undefined,
      list: <T extends KubeObject>(kind: KindDefinition<T>, selection: Selection = {}) =>
        this.select(kind, selection) as T[],
    }
  }
}
