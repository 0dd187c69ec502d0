import type { KindDefinition, KubeObject } from '../api/index.ts'

/** Names one object. `namespace` is needed for namespaced kinds only. */
export interface ObjectReference {
  name: string
  namespace?: string
}

/** Selects among the objects of a kind. Selectors are in Kubernetes' string syntax: `a=b,c!=d,e in (f,g),!h`. */
export interface Selection {
  namespace?: string
  labelSelector?: string
  /** Only metadata.name, metadata.namespace and the kind's selectableFields. */
  fieldSelector?: string
}

export interface ListOptions extends Selection {
  limit?: number
  continue?: string
}

/** One page of a list, true at `resourceVersion`, from which a watch can go on. */
export interface ObjectList<T> {
  items: T[]
  resourceVersion: string
  continue?: string
  remainingItemCount?: number
}

export interface WatchOptions extends Selection {
  /** Start after this version; absent or '0': first an ADDED for everything that exists. */
  resourceVersion?: string
  allowBookmarks?: boolean
  /** Ends the watch. */
  signal?: AbortSignal
}

/** A change. With a selector, an object that stops matching is reported DELETED although it still exists. */
export type WatchEvent<T> =
  { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T } | { type: 'BOOKMARK'; resourceVersion: string }

export interface DeleteOptions {
  /** Preconditions: Conflict when the object has another uid or version. */
  uid?: string
  resourceVersion?: string
}

export interface PatchOptions {
  subresource?: 'status'
  /** Precondition: Conflict when the object is at another version. */
  resourceVersion?: string
}

/** What may be said with a creation. */
export interface CreateOptions<T> {
  /**
   * Told what will be answered, by a store that knows before it is certain; others never call it. To prepare for the
   * answer only: what is told here may still be lost.
   */
  onEarlyAnswer?: (likely: T) => void
}

/**
 * Objects with optimistic concurrency and watch, by the conventions of the Kubernetes API.
 * Two implementations: `embedded` (SQLite, inside control) and `rest` (a client of any Kubernetes-style server);
 * both pass test/store-contract. Errors: NotFound, Conflict (name taken, version changed, precondition), InvalidInput,
 * Unavailable (no answer; may succeed later), Expired from `watch` and paged `list`.
 */
export interface ResourceStore {
  get<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): Promise<T>
  list<T extends KubeObject>(kind: KindDefinition<T>, options?: ListOptions): Promise<ObjectList<T>>
  /** Throws Expired (410) when the version is older than what is remembered: list again. Ends silently on `signal`. */
  watch<T extends KubeObject>(kind: KindDefinition<T>, options?: WatchOptions): AsyncIterable<WatchEvent<T>>
  create<T extends KubeObject>(kind: KindDefinition<T>, object: T, options?: CreateOptions<T>): Promise<T>
  /** Replaces everything but status; Conflict unless metadata.resourceVersion, where given, is the current one. */
  update<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T>
  /** Replaces status and nothing else; same precondition. */
  updateStatus<T extends KubeObject>(kind: KindDefinition<T>, object: T): Promise<T>
  /** JSON merge patch (RFC 7396): null removes a field. */
  patch<T extends KubeObject>(
    kind: KindDefinition<T>,
    reference: ObjectReference,
    patch: object,
    options?: PatchOptions,
  ): Promise<T>
  /** Removes the object, or sets deletionTimestamp while finalizers remain; returns the last state. */
  delete<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference, options?: DeleteOptions): Promise<T>
  close(): Promise<void>
}
