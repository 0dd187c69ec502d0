import { Snapshot, snapshotFinalizer, Volume } from '../../api/index.ts'
import { CarbonadoError, type ErrorCode } from '../../base/index.ts'
import { findObject, isStale, type ResourceStore } from '../../store/index.ts'
import { cloneAnnotation } from '../clone-annotation.ts'
import { cloneSnapshotName } from '../plex-names.ts'

/** Milliseconds after which a snapshot that failed is tried again. */
const failedRetry = 30_000
/** Milliseconds until a snapshot that is to go is looked at again. */
const releaseRetry = 500

/** Why a clone cannot be copied yet, and after how many milliseconds to look again beside news of the snapshot. */
export interface CloneWait {
  message: string
  refused?: CarbonadoError
  requeueAfter?: number
}

/**
 * The snapshots that clones are copied from when they are placed on another drive than their source: a volume changes
 * while it is copied, a snapshot does not.
 *
 * **Why none is leaked.** Its name has the uid of the clone, and it is wanted only while a volume of that uid waits to be
 * filled. Whoever reconciles the source looks, at every start of control, at every change of a snapshot of it, and when a
 * clone has become Available or is gone.
 */
export class CloneSnapshots {
  readonly #store: ResourceStore

  constructor(store: ResourceStore) {
    this.#store = store
  }

  /** The snapshot for a clone, in whatever state it is. */
  find({ metadata }: Volume): Promise<Snapshot | undefined> {
    return findObject(this.#store, Snapshot, { name: cloneSnapshotName(metadata.uid!) })
  }

  /** Has a snapshot for a clone that is not Ready taken, or taken again; says what is waited for. */
  async ask({ metadata }: Volume, sourceName: string, existing: Snapshot | undefined): Promise<CloneWait> {
    const message = existing?.status?.message ?? `waiting for a snapshot of volume ${sourceName} to copy from`
    if (existing?.metadata.deletionTimestamp) return { message, requeueAfter: releaseRetry }
    if (existing) return existing.status?.phase === 'Failed' ? this.#failed(existing) : { message }
    await this.#store.create(Snapshot, {
      metadata: {
        name: cloneSnapshotName(metadata.uid!),
        annotations: { [cloneAnnotation]: metadata.name },
        finalizers: [snapshotFinalizer],
      },
      spec: { volumeName: sourceName },
    })
    return { message }
  }

  /** Not again at once: what it lacked, such as room on the drive, takes its time to come. */
  async #failed({ metadata, spec, status }: Snapshot): Promise<CloneWait> {
    const age = Date.now() - Date.parse(metadata.creationTimestamp!)
    if (age >= failedRetry) await this.#remove(metadata)
    const { code = 'Unavailable', message: reason = 'its snapshot failed', remedy } = status!
    const message = `volume ${spec.volumeName} cannot be copied to another drive: ${reason}`
    const refused = new CarbonadoError(code as ErrorCode, message, { remedy })
    return { message, refused, requeueAfter: Math.max(releaseRetry, failedRetry - age) }
  }

  /** Removes those of a volume's snapshots that no clone waits for any more. */
  async removeUnneeded(snapshots: Snapshot[]): Promise<void> {
    for (const { metadata } of snapshots) {
      const cloneName = metadata.annotations?.[cloneAnnotation]
      if (cloneName === undefined || metadata.deletionTimestamp) continue
      const clone = await findObject(this.#store, Volume, { name: cloneName })
      const isItsOwn = clone !== undefined && cloneSnapshotName(clone.metadata.uid!) === metadata.name
      if (!isItsOwn || clone.status?.phase === 'Available') await this.#remove(metadata)
    }
  }

  async #remove({ name, uid }: Snapshot['metadata']): Promise<void> {
    await this.#store.delete(Snapshot, { name }, { uid }).catch((error: unknown) => {
      if (!isStale(error)) throw error // gone, or another one by now
    })
  }
}
