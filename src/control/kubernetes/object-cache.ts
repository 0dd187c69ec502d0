import type { KindDefinition, KubeObject } from '../../api/index.ts'
import type { Logger } from '../../base/index.ts'
import {
  compileSelection,
  createInformer,
  selectorViewOf,
  type Informer,
  type ObjectReference,
  type ResourceStore,
  type Selection,
  type SyncReader,
} from '../../store/index.ts'

/**
 * What admission reads on a cluster: a copy of the objects that is a moment behind. What must hold at every moment does
 * not rest on it: addresses are names, and what is in use has a finalizer.
 */
export class ObjectCache implements SyncReader {
  readonly #informers: Map<string, Informer<never>>

  constructor(store: ResourceStore, kinds: KindDefinition[], logger: Logger) {
    this.#informers = new Map(
      kinds.map((kind) => [kind.kind, createInformer(store, kind, { logger }) as unknown as Informer<never>]),
    )
  }

  /** Resolves once everything has been read. */
  async start(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.start()))
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()))
  }

  get<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): T | undefined {
    return this.#of(kind).get(reference)
  }

  list<T extends KubeObject>(kind: KindDefinition<T>, selection: Selection = {}): T[] {
    const matches = compileSelection(kind as KindDefinition, selection) ?? (() => true)
    const items = this.#of(kind).items()
    return items.filter((object) => matches(selectorViewOf(kind as KindDefinition, object))).sort(byNamespaceAndName)
  }

  #of<T extends KubeObject>(kind: KindDefinition<T>): Informer<T> {
    return this.#informers.get(kind.kind) as unknown as Informer<T>
  }
}

function byNamespaceAndName(one: KubeObject, other: KubeObject): number {
  const key = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`
  return key(one) < key(other) ? -1 : 1
}
