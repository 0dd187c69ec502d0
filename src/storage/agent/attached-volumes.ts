import { setTimeout as delay } from 'node:timers/promises'
import { Volume, VolumeAttachment, type FilesystemType, type Plex } from '../../api/index.ts'
import { Conflict, Unavailable } from '../../base/index.ts'
import { findObject, type Informer, type ResourceStore } from '../../store/index.ts'
import { consumersAt } from '../io-limits/guarded.ts'
import type { GuardedVolume } from '../io-limits/index.ts'

/** What is known of volumes that this node may use. */
export interface AttachedVolumesParts {
  store: ResourceStore
  nodeName: string
  /** Those of this node. */
  attachments: Informer<VolumeAttachment>
  /** The plex of a volume on this node, by the uid of the volume. */
  plexOf: (volumeUid: string) => Plex | undefined
  /** The device of an attachment, once there is one. */
  deviceOf: (attachment: VolumeAttachment) => string | undefined
  /** Paths at which a volume is shown to those who use it. */
  publishedPaths: (volumeName: string) => string[]
}

/** A volume that this node may use, with its device. */
export interface AttachedDevice {
  volumeUid: string
  device: string
  readOnly: boolean
  /** Absent on a raw block device. */
  filesystem?: FilesystemType
}

/** Milliseconds for which the device of an attached volume is waited for, and between two looks. */
const [devicePatience, deviceInterval] = [8_000, 5]

/** The volumes that are attached to this node, with their devices: for those who mount them and for who keeps their floors. */
export class AttachedVolumes {
  readonly #parts: AttachedVolumesParts

  constructor(parts: AttachedVolumesParts) {
    this.#parts = parts
  }

  /** The device of a volume; undefined when it is not attached here, or has none yet. */
  deviceOf(volumeName: string): string | undefined {
    const attachment = this.#parts.attachments.get({ name: volumeName })
    return attachment && this.#parts.deviceOf(attachment)
  }

  /** Those that have a device, with what they are promised and who uses them. Asked for at every look of the floor keeper. */
  guarded(): GuardedVolume[] {
    const { attachments, plexOf, deviceOf, publishedPaths } = this.#parts
    return attachments.items().flatMap((attachment) => {
      const devicePath = deviceOf(attachment)
      const plex = devicePath === undefined ? undefined : plexOf(attachment.spec.volumeUid)
      if (devicePath === undefined || !plex) return []
      const { volumeName: name, driveName, iopsFloor: floor, iopsCap: cap } = plex.spec
      const consumers = consumersAt(publishedPaths(name))
      return [{ id: plex.metadata.uid!, name, driveName, devicePath, floor, ...(cap ? { cap } : {}), consumers }]
    })
  }

  /**
   * The device of a volume that is attached to this node, once it is there. Throws NotFound when there is no such volume,
   * Conflict when it is not attached to this node, Unavailable when the device does not come in time.
   */
  async device(volumeName: string): Promise<AttachedDevice> {
    const { store, nodeName, attachments, deviceOf } = this.#parts
    const giveUp = performance.now() + devicePatience
    const { spec } = await store.get(Volume, { name: volumeName })
    let isAsked = false
    for (;;) {
      const attachment = attachments.get({ name: volumeName })
      if (!attachment && !isAsked) {
        isAsked = true
        const found = await findObject(store, VolumeAttachment, { name: volumeName })
        if (!found) notAttached(volumeName, nodeName)
        checkIsHere(found, nodeName)
      }
      if (attachment) checkIsHere(attachment, nodeName)
      const device = attachment && deviceOf(attachment)
      if (device !== undefined) {
        const { volumeUid, readOnly } = attachment!.spec
        return { volumeUid, device, readOnly, ...(spec.filesystem ? { filesystem: spec.filesystem } : {}) }
      }
      if (performance.now() > giveUp) {
        const why = attachment?.status?.message ?? 'no news of it'
        throw new Unavailable(`volume ${volumeName} has no device on node ${nodeName} yet: ${why}`, {
          remedy: 'Try again; if it stays so, look at `dctl drive list`.',
        })
      }
      await delay(deviceInterval)
    }
  }
}

function checkIsHere({ metadata: { name, deletionTimestamp }, spec }: VolumeAttachment, nodeName: string): void {
  if (deletionTimestamp || spec.nodeName !== nodeName) notAttached(name, nodeName)
}

function notAttached(volumeName: string, nodeName: string): never {
  throw new Conflict(`volume ${volumeName} is not attached to node ${nodeName}`, { remedy: 'Attach it first.' })
}
