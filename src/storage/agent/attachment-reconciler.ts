import { isDeepStrictEqual } from 'node:util'
import { VolumeAttachment, volumeAttachmentFinalizer, type Plex } from '../../api/index.ts'
import { asCarbonadoError, type Logger, type ReconcileResult } from '../../base/index.ts'
import { findObject, type ResourceStore } from '../../store/index.ts'
import type { Pool } from '../pool-format.ts'
import type { OpenPools } from './open-pools.ts'

/** What the attachment reconciler works with. */
export interface AttachmentReconcilerParts {
  store: ResourceStore
  /** The plex of a volume on this node, by the uid of the volume. */
  plexOf: (volumeUid: string) => Plex | undefined
  pools: OpenPools
  /** Runs operations on the entry of a plex one after the other. */
  withPlex: <T>(uid: string, work: () => Promise<T>) => Promise<T>
  /** Paths at which a volume is mounted on this node. */
  pathsInUse: (volumeName: string) => string[]
  logger: Logger
}

/** Milliseconds until a device that is still in use, or not there yet, is looked at again. */
const retry = 500

const optionalFields = ['devicePath', 'message'] as const

/**
 * Makes the devices of volumes that this node may use, and takes them away. The finalizer stands from before a device is
 * made until it is gone; while the object exists no other node can have one of its name, so a volume is never in use on
 * two nodes.
 */
export class AttachmentReconciler {
  readonly #parts: AttachmentReconcilerParts
  /** Devices by the uid of their VolumeAttachment that this process has seen itself: status may be from before a boot. */
  readonly #devices = new Map<string, string>()

  constructor(parts: AttachmentReconcilerParts) {
    this.#parts = parts
  }

  /** The device of an attachment as this process has made or found it. */
  deviceOf({ metadata }: VolumeAttachment): string | undefined {
    return this.#devices.get(metadata.uid!)
  }

  async reconcile(name: string): Promise<ReconcileResult> {
    const { store } = this.#parts
    const attachment = await findObject(store, VolumeAttachment, { name })
    if (!attachment) return { done: true }
    if (attachment.metadata.deletionTimestamp) return this.#detach(attachment)
    if (!(await this.#hasFinalizer(attachment))) return { requeueAfter: 0 }
    return this.#attach(attachment)
  }

  async #hasFinalizer({ metadata }: VolumeAttachment): Promise<boolean> {
    const { finalizers = [], name, resourceVersion } = metadata
    if (finalizers.includes(volumeAttachmentFinalizer)) return true
    const patch = { metadata: { finalizers: [...finalizers, volumeAttachmentFinalizer] } }
    await this.#parts.store.patch(VolumeAttachment, { name }, patch, { resourceVersion })
    return false
  }

  async #attach(attachment: VolumeAttachment): Promise<ReconcileResult> {
    const place = this.#placeOf(attachment)
    if (typeof place === 'string') {
      await this.#write(attachment, { attached: false, message: place })
      return { requeueAfter: retry }
    }
    try {
      const { readOnly } = attachment.spec
      const { devicePath } = await this.#parts.withPlex(place.uid, () => place.pool.activate(place.uid, { readOnly }))
      this.#devices.set(attachment.metadata.uid!, devicePath)
      await this.#write(attachment, { attached: true, devicePath })
      return { done: true }
    } catch (thrown) {
      await this.#write(attachment, { attached: false, message: asCarbonadoError(thrown).message })
      throw thrown
    }
  }

  async #detach(attachment: VolumeAttachment): Promise<ReconcileResult> {
    const { metadata, status } = attachment
    if (!metadata.finalizers?.includes(volumeAttachmentFinalizer)) return { done: true }
    const inUse = this.#parts.pathsInUse(metadata.name)
    if (inUse.length > 0) {
      const { attached = true, devicePath } = status ?? {}
      await this.#write(attachment, { attached, devicePath, message: `still in use at ${inUse.join(', ')}` })
      return { requeueAfter: retry }
    }
    const place = this.#placeOf(attachment)
    try {
      if (typeof place !== 'string') await this.#parts.withPlex(place.uid, () => place.pool.deactivate(place.uid))
    } catch (thrown) {
      const error = asCarbonadoError(thrown)
      if (error.code !== 'Conflict') throw error
      await this.#write(attachment, { attached: true, devicePath: status?.devicePath, message: error.message })
      return { requeueAfter: retry }
    }
    const finalizers = metadata.finalizers.filter((each) => each !== volumeAttachmentFinalizer)
    const { name, resourceVersion } = metadata
    this.#devices.delete(metadata.uid!)
    await this.#parts.store.patch(VolumeAttachment, { name }, { metadata: { finalizers } }, { resourceVersion })
    return { done: true }
  }

  /** The plex of the volume on this node with its pool, or why there is none. */
  #placeOf({ spec }: VolumeAttachment): { uid: string; pool: Pool } | string {
    const plex = this.#parts.plexOf(spec.volumeUid)
    if (!plex) return `this node has no copy of volume ${spec.volumeName}`
    const pool = this.#parts.pools.get(plex.spec.driveName)
    if (pool?.id !== plex.spec.poolId) return `drive ${plex.spec.driveName} is not there`
    return { uid: plex.metadata.uid!, pool }
  }

  async #write(
    { metadata, status: before }: VolumeAttachment,
    news: { attached: boolean; devicePath?: string; message?: string },
  ): Promise<void> {
    const status = { ...withoutUndefined(news), publishedPaths: this.#parts.pathsInUse(metadata.name) }
    if (isDeepStrictEqual(before, status)) return
    const cleared = Object.fromEntries(optionalFields.map((field) => [field, null]))
    const patch = { metadata: { uid: metadata.uid }, status: { ...cleared, ...status } }
    await this.#parts.store.patch(VolumeAttachment, { name: metadata.name }, patch, { subresource: 'status' })
  }
}

function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}
