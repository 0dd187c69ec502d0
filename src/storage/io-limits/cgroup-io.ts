/** Which way data goes. */
export type Direction = 'read' | 'write'
export const directions: readonly Direction[] = ['read', 'write']

/** What a cgroup has asked of a device since it exists. */
export interface IoCounters {
  operations: number
  bytes: number
}

/** How much a cgroup may do on a device in one direction, per second. */
export interface IoLimit {
  operations: number
  bytes: number
}

/**
 * Holding I/O to a device back, through the cgroups of whoever asks for it. Devices by their numbers, `MAJOR:MINOR`;
 * cgroups by their folders. All operations do nothing for a cgroup that has gone.
 */
export interface CgroupIo {
  readonly version: 1 | 2
  /** Folder of the hierarchy. */
  readonly root: string
  /** Makes the kernel count what cgroups ask of a device. */
  activate(device: string): void
  /**
   * Of these cgroups those through which I/O to the device can be held back: together, and each only once. `consumers`
   * are parts of names, such as uids of pods: their cgroups are among them even before they have used the device.
   */
  choose(device: string, folders: string[], consumers: string[]): string[]
  counters(folder: string, device: string): Record<Direction, IoCounters>
  /** Sets the limit; undefined removes it. */
  limit(folder: string, device: string, direction: Direction, limit: IoLimit | undefined): void
  /** Of these cgroups those that have a limit for the device, whoever has set it. */
  limited(device: string, folders: string[]): string[]
  /** Devices that have a limit in a cgroup. */
  limitedDevices(folder: string): string[]
  /** What to write into which files to have no more limit, or this one, for a device in a cgroup. */
  rules(folder: string, device: string, limit?: number): { file: string; rule: string }[]
}
