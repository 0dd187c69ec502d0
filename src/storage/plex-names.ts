/** Name of one copy of a volume. */
export function plexName(volumeName: string, index: number): string {
  return `${volumeName}.p${index}`
}

/** Name of the snapshot of a volume that a group makes. */
export function groupSnapshotName(groupName: string, volumeName: string): string {
  return `${groupName}.${volumeName}`
}

/** Name of the snapshot that a volume, by its uid, is copied from when it is a clone on another drive than its source. */
export function cloneSnapshotName(cloneUid: string): string {
  return `clone-${cloneUid}`
}

/** Name of a drive's object: its node and the last part of its path, which `dctl` calls its slot. */
export function driveName(nodeName: string, device: string): string {
  return `${nodeName}.${slotOf(device)}`
}

/** What a drive is called within its node: the last part of its path in the letters that names may have. */
export function slotOf(device: string): string {
  const last = device.slice(device.lastIndexOf('/') + 1).toLowerCase()
  return last.replaceAll(/[^a-z0-9.-]+/g, '-').replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '') || 'drive'
}
