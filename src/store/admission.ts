import type { KindDefinition, KubeObject } from '../api/index.ts'
import type { ObjectReference, Selection } from './resource-store.ts'

/** A write that is about to happen. `object` is the new state, or for `delete` the one that is to go. */
export interface AdmissionRequest {
  verb: 'create' | 'update' | 'delete'
  kind: KindDefinition
  object: KubeObject
  /** The state before an update. */
  existing?: KubeObject
}

/** Reads the store within a write transaction. What it returns is shared and frozen. */
export interface SyncReader {
  get<T extends KubeObject>(kind: KindDefinition<T>, reference: ObjectReference): T | undefined
  /** All that match, ordered by namespace and name. */
  list<T extends KubeObject>(kind: KindDefinition<T>, selection?: Selection): T[]
}

/**
 * Decides about a create, update, patch or delete (never a status write) inside its transaction, so that what it reads
 * cannot change before the write. Throws a CarbonadoError to refuse.
 */
export type Admit = (request: AdmissionRequest, reader: SyncReader) => void

/** Any write that is about to happen, writes of status included. */
export interface GuardedWrite<T extends KubeObject = KubeObject> {
  verb: 'create' | 'update' | 'status' | 'delete'
  kind: KindDefinition<T>
  /** The new state, or for `delete` the one that is to go. */
  object: T
  /** The state before; absent for `create`. */
  existing?: T
}

/**
 * Asked inside the transaction of one write whether its caller may make it, so that what it looks at cannot change
 * before the write. Throws a CarbonadoError to refuse.
 */
export type WriteGuard = (write: GuardedWrite) => void
