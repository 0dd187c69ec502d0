import { existsSync } from 'node:fs'
import { directions, type CgroupIo } from './cgroup-io.ts'
import { foldersBelow } from './cgroup-tree.ts'

/** Major number of loop devices (Linux, Documentation/admin-guide/devices.txt). */
const loopMajor = 7

/**
 * Removes limits of loop devices that stand for no file any more: the kernel keeps them with the number, and they would
 * hold back whoever gets the device next. They stay when an agent was killed and its volumes went without it.
 */
export function removeStaleLimits(io: CgroupIo): void {
  for (const folder of foldersBelow(io.root)) {
    for (const device of io.limitedDevices(folder)) {
      if (!isUnusedLoop(device)) continue
      for (const direction of directions) io.limit(folder, device, direction, undefined)
    }
  }
}

function isUnusedLoop(device: string): boolean {
  return device.startsWith(`${loopMajor}:`) && !existsSync(`/sys/dev/block/${device}/loop/backing_file`)
}
