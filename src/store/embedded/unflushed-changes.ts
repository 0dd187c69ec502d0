import type { KubeObject } from '../../api/index.ts'
import type { ObjectTables } from './object-tables.ts'

/** Which object a commit changed: its table, and its key there. */
export interface CommittedChange {
  version: number
  kind: string
  key: string
}

/** What commits that the disk may not have yet have replaced, in their order, so that they can be taken back. */
export class UnflushedChanges {
  readonly #tables: ObjectTables
  readonly #changes: (CommittedChange & { before: KubeObject | undefined })[] = []

  constructor(tables: ObjectTables) {
    this.#tables = tables
  }

  /** Notes what is in the table before a change is made there; changes up to version `flushed` are forgotten. */
  remember(change: CommittedChange, flushed: number): void {
    const surely = this.#changes.findIndex(({ version }) => version > flushed)
    this.#changes.splice(0, surely < 0 ? this.#changes.length : surely)
    this.#changes.push({ ...change, before: this.#tables.named(change.kind).get(change.key) })
  }

  /** Puts back into the tables what changes after version `flushed` have replaced. */
  takeBack(flushed: number): void {
    for (const { version, kind, key, before } of this.#changes.splice(0).reverse()) {
      if (version <= flushed) continue
      if (before) this.#tables.named(kind).set(key, before)
      else this.#tables.named(kind).delete(key)
    }
  }
}
