import { setTimeout as delay } from 'node:timers/promises'
import { apiVersionOf, Volume, VolumeAttachment, volumeAttachmentFinalizer } from '../../api/index.ts'
import { CarbonadoError, Conflict, Unavailable } from '../../base/index.ts'
import { findObject, ignoreNotFound, type ResourceStore } from '../../store/index.ts'

/** Settings of an attacher. */
export interface VolumeAttacherOptions {
  store: ResourceStore
  /** The node that uses the volumes. */
  nodeName: string
  /** The device as the agent itself has seen it; absent: as the object says, which a boot may have made untrue. */
  deviceOf?: (attachment: VolumeAttachment) => string | undefined
  /** Milliseconds that attaching or detaching may take; 10 000 unless told. */
  patience?: number
}

const pollInterval = 20

/**
 * Gives a node the device of a volume and takes it back: the place where publishing begins and ends. Both are idempotent
 * and safe to repeat after a crash; the right to use the volume is the VolumeAttachment of its name.
 */
export class VolumeAttacher {
  readonly #store: ResourceStore
  readonly #nodeName: string
  readonly #patience: number
  readonly #deviceOf: (attachment: VolumeAttachment) => string | undefined

  constructor({ store, nodeName, deviceOf = deviceInStatus, patience = 10_000 }: VolumeAttacherOptions) {
    this.#store = store
    this.#nodeName = nodeName
    this.#patience = patience
    this.#deviceOf = deviceOf
  }

  /**
   * The path of the volume's block device on this node. Throws NotFound for an unknown volume, Conflict when another
   * node uses it or it cannot be used here, Unavailable when the device does not come in time.
   */
  async attach(volumeName: string, { readOnly = false }: { readOnly?: boolean } = {}): Promise<string> {
    const volume = await this.#store.get(Volume, { name: volumeName })
    const giveUp = performance.now() + this.#patience
    await this.#claim(volume, readOnly, giveUp)
    for (;;) {
      const attachment = await this.#read(volumeName)
      const device = attachment?.spec.nodeName === this.#nodeName ? this.#deviceOf(attachment) : undefined
      if (device !== undefined) return device
      if (performance.now() > giveUp) {
        throw new Unavailable(
          `volume ${volumeName} has no device yet: ${attachment?.status?.message ?? 'no news of it'}`,
          {
            remedy: 'Try again; if it stays so, look at `dctl drive list` and the log of the agent.',
          },
        )
      }
      await delay(pollInterval)
    }
  }

  /** Gives the volume back. Throws Conflict when its device is still in use, Unavailable when it does not go in time. */
  async detach(volumeName: string): Promise<void> {
    const attachment = await this.#read(volumeName)
    if (!attachment) return
    if (attachment.spec.nodeName !== this.#nodeName) return
    const { uid } = attachment.metadata
    await this.#store.delete(VolumeAttachment, { name: volumeName }, { uid }).catch(ignoreNotFound)
    const giveUp = performance.now() + this.#patience
    for (;;) {
      const left = await this.#read(volumeName)
      if (left?.metadata.uid !== uid) return
      if (performance.now() > giveUp) {
        throw new Unavailable(`volume ${volumeName} is still attached: ${left!.status?.message ?? 'no news of it'}`, {
          remedy: 'Stop what uses it; it is detached as soon as nothing does.',
        })
      }
      await delay(pollInterval)
    }
  }

  /** Makes the attachment, or finds this node's own; one that is on its way out is waited for. */
  async #claim({ metadata }: Volume, readOnly: boolean, giveUp: number): Promise<void> {
    const { name, uid } = metadata
    const object: VolumeAttachment = {
      apiVersion: apiVersionOf(VolumeAttachment),
      kind: VolumeAttachment.kind,
      metadata: { name, finalizers: [volumeAttachmentFinalizer] },
      spec: { volumeName: name, volumeUid: uid!, nodeName: this.#nodeName, readOnly },
    }
    for (;;) {
      const existing = await this.#read(name)
      if (existing && !existing.metadata.deletionTimestamp) return this.#checkOwn(existing, readOnly)
      if (!existing && (await this.#create(object))) return
      if (performance.now() > giveUp) {
        throw new Unavailable(`volume ${name} is still being detached from node ${existing?.spec.nodeName}`, {
          remedy: 'Try again; if it stays so, look whether the agent of that node runs.',
        })
      }
      await delay(pollInterval)
    }
  }

  #checkOwn({ metadata: { name }, spec }: VolumeAttachment, readOnly: boolean): void {
    if (spec.nodeName !== this.#nodeName) {
      throw new Conflict(`volume ${name} is attached to node ${spec.nodeName}`, { remedy: 'Stop what uses it there.' })
    }
    if (spec.readOnly && !readOnly) {
      throw new Conflict(`volume ${name} is attached read-only`, { remedy: 'Detach it first.' })
    }
  }

  /** False when somebody else was faster. */
  async #create(object: VolumeAttachment): Promise<boolean> {
    try {
      await this.#store.create(VolumeAttachment, object)
      return true
    } catch (error) {
      const isTaken = error instanceof CarbonadoError && error.code === 'Conflict'
      if (isTaken && (await this.#read(object.metadata.name))) return false
      throw error
    }
  }

  async #read(name: string): Promise<VolumeAttachment | undefined> {
    return findObject(this.#store, VolumeAttachment, { name })
  }
}

function deviceInStatus({ status }: VolumeAttachment): string | undefined {
  return status?.attached ? status.devicePath : undefined
}
