import type { Windows } from '../guarantee/index.ts'

/** What an agent tells at `/v1/volumes` about one volume that has a device on its node. Rates per second. */
export interface LiveVolume {
  name: string
  plexUid: string
  driveName: string
  devicePath: string
  iopsFloor: number
  iopsCap?: number
  /** Operations and bytes over the last second, as the kernel counts them at the device. */
  iops: number
  bytes: number
  /** To how many operations per second it is held now, by the floor of another volume; absent: it is not. */
  heldTo?: number
  /** One-second windows; absent without a floor. */
  windows?: Windows
  /** Windows of the last hour, and since when that is known (ISO 8601). */
  lastHour?: Windows & { since: string }
}

/** What an agent tells about a drive that volumes with devices lie on; operations per second. */
export interface LiveDrive {
  name: string
  calibrated?: number
  delivered: number
}

/** The answer at `/v1/volumes`. */
export interface LiveStorage {
  volumes: LiveVolume[]
  drives: LiveDrive[]
  /** Why floors and caps cannot be kept on this node; absent: they can. */
  problem?: string
}
