import { isDeepStrictEqual } from 'node:util'
import { Snapshot, SnapshotGroup, snapshotFinalizer, snapshotGroupFinalizer } from '../../api/index.ts'
import { CarbonadoError, Conflict, InvalidInput, type ReconcileResult } from '../../base/index.ts'
import { findObject, isStale, type ResourceStore } from '../../store/index.ts'
import { oneInstantProblem, oneInstantRemedy } from '../admission/snapshot-rules.ts'
import { groupSnapshotName } from '../plex-names.ts'
import type { StorageEvents } from './storage-events.ts'
import type { StorageView } from './storage-view.ts'
import { problemFields } from './volume-status.ts'

type GroupStatus = NonNullable<SnapshotGroup['status']>

const optionalFields = ['code', 'message', 'remedy', 'takenAt'] as const

/** Milliseconds until a group that waits is looked at again, beside the changes of its snapshots. */
const retry = 200

/** Makes the snapshots of groups and takes them away: all of a group are there, or none. */
export class SnapshotGroupController {
  readonly #store: ResourceStore
  readonly #view: StorageView
  readonly #events: StorageEvents

  constructor(store: ResourceStore, view: StorageView, events: StorageEvents) {
    this.#store = store
    this.#view = view
    this.#events = events
  }

  /** Brings the snapshots of a group in line with its object. */
  async reconcile(name: string): Promise<ReconcileResult> {
    try {
      const group = await findObject(this.#store, SnapshotGroup, { name })
      if (!group) return { done: true }
      if (group.metadata.deletionTimestamp) return await this.#release(group)
      if (!(await this.#hasFinalizer(group))) return { done: true }
      if (group.status?.phase === 'Failed') return await this.#deleteMembers(group)
      if (group.status?.phase === 'Ready') return { done: true }
      return await this.#bringUp(group)
    } catch (error) {
      if (isStale(error)) return { requeueAfter: retry }
      throw error
    }
  }

  async #hasFinalizer({ metadata }: SnapshotGroup): Promise<boolean> {
    const { finalizers = [], name, resourceVersion } = metadata
    if (finalizers.includes(snapshotGroupFinalizer)) return true
    const patch = { metadata: { finalizers: [...finalizers, snapshotGroupFinalizer] } }
    await this.#store.patch(SnapshotGroup, { name }, patch, { resourceVersion })
    return false
  }

  async #bringUp(group: SnapshotGroup): Promise<ReconcileResult> {
    const volumes = group.spec.volumeNames.map((name) => this.#view.volumes.get({ name }))
    const missing = group.spec.volumeNames.filter((_, index) => !volumes[index])
    if (missing.length > 0)
      return this.#fail(group, new Conflict(`volume ${missing.join(', ')} does not exist any more`))
    const problem = oneInstantProblem(volumes.map((volume) => volume!))
    if (problem !== undefined) return this.#fail(group, new InvalidInput(problem, { remedy: oneInstantRemedy }))
    if (volumes.some((volume) => volume!.status?.phase !== 'Available')) {
      await this.#write(group, { phase: 'Pending', message: 'waiting for its volumes', snapshotNames: [] })
      return { requeueAfter: retry }
    }
    const members = await Promise.all(group.spec.volumeNames.map((name) => this.#member(group, name)))
    const foreign = members.find(({ spec }) => spec.groupName !== group.metadata.name)
    if (foreign) return this.#fail(group, new Conflict(`snapshot ${foreign.metadata.name} exists already`))
    return this.#report(group, members)
  }

  /** The snapshot of one volume, made when it is not there. */
  async #member(group: SnapshotGroup, volumeName: string): Promise<Snapshot> {
    const name = groupSnapshotName(group.metadata.name, volumeName)
    const existing = await findObject(this.#store, Snapshot, { name })
    if (existing) return existing
    return this.#store.create(Snapshot, {
      metadata: { name, labels: group.metadata.labels, finalizers: [snapshotFinalizer] },
      spec: { volumeName, groupName: group.metadata.name, ...(group.spec.quiesce ? { quiesce: true } : {}) },
    })
  }

  async #report(group: SnapshotGroup, members: Snapshot[]): Promise<ReconcileResult> {
    const failed = members.find(({ status }) => status?.phase === 'Failed')
    const snapshotNames = members.map(({ metadata }) => metadata.name)
    if (failed) {
      const { code, message = 'it failed', remedy } = failed.status!
      const text = `snapshot ${failed.metadata.name}: ${message}`
      return this.#fail(group, new CarbonadoError((code as 'Conflict' | undefined) ?? 'Conflict', text, { remedy }))
    }
    const times = members.flatMap(({ status }) => (status?.phase === 'Ready' ? [status.takenAt!] : []))
    if (times.length < members.length) {
      await this.#write(group, { phase: 'Pending', message: 'waiting for its snapshots', snapshotNames })
      return { requeueAfter: retry }
    }
    await this.#write(group, { phase: 'Ready', snapshotNames, takenAt: times.sort()[0]! })
    return { done: true }
  }

  async #fail(group: SnapshotGroup, error: CarbonadoError): Promise<ReconcileResult> {
    this.#events.refused(SnapshotGroup, group, 'SnapshotGroupFailed', error)
    await this.#write(group, { phase: 'Failed', ...problemFields(error), snapshotNames: [] })
    return this.#deleteMembers(group)
  }

  async #deleteMembers(group: SnapshotGroup): Promise<ReconcileResult> {
    const members = await this.#members(group)
    for (const { metadata } of members) {
      if (!metadata.deletionTimestamp)
        await this.#store.delete(Snapshot, { name: metadata.name }, { uid: metadata.uid })
    }
    return members.length > 0 ? { requeueAfter: retry } : { done: true }
  }

  async #release(group: SnapshotGroup): Promise<ReconcileResult> {
    const { name, finalizers = [], resourceVersion } = group.metadata
    const isDone = 'done' in (await this.#deleteMembers(group))
    if (!isDone) {
      await this.#write(group, { phase: 'Releasing', snapshotNames: group.status?.snapshotNames ?? [] })
      return { requeueAfter: retry }
    }
    const rest = finalizers.filter((each) => each !== snapshotGroupFinalizer)
    await this.#store.patch(SnapshotGroup, { name }, { metadata: { finalizers: rest } }, { resourceVersion })
    return { done: true }
  }

  async #members({ metadata: { name } }: SnapshotGroup): Promise<Snapshot[]> {
    const { items } = await this.#store.list(Snapshot)
    return items.filter(({ spec }) => spec.groupName === name)
  }

  async #write({ metadata, status: written }: SnapshotGroup, status: GroupStatus): Promise<void> {
    if (isDeepStrictEqual(written, status)) return
    const cleared = Object.fromEntries(optionalFields.map((field) => [field, null]))
    const { name, uid } = metadata
    const patch = { metadata: { uid }, status: { ...cleared, ...status } }
    await this.#store.patch(SnapshotGroup, { name }, patch, { subresource: 'status' })
  }
}
