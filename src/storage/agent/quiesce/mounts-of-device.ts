import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { deviceNumber } from '../../device-number.ts'

/** A place where a filesystem is mounted. */
export interface MountOfDevice {
  /** Path that leads there from this process, also into another mount namespace. */
  path: string
  /** Whether the filesystem, not only this mount of it, can be written. */
  isWritable: boolean
}

/**
 * Where the filesystem on a block device is mounted: first in this mount namespace, then in those of other processes that
 * can be seen. Containers often hold the only mount that is left.
 */
export function mountsOfDevice(devicePath: string): MountOfDevice[] {
  const number = deviceNumber(devicePath)
  const seen = new Set<string>()
  return ['self', ...processes()].flatMap((pid) => {
    const namespace = namespaceOf(pid)
    if (namespace === undefined || seen.has(namespace)) return []
    seen.add(namespace)
    const root = pid === 'self' ? '' : `/proc/${pid}/root`
    const found = mountsIn(mountInfoOf(pid), number)
    return found.map(({ path, isWritable }) => ({ path: join(root, path) || '/', isWritable }))
  })
}

/** Mounts of a device number in a text like /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export function mountsIn(mountInfo: string, wanted: string): MountOfDevice[] {
  return mountInfo.split('\n').flatMap((line) => {
    const [, , number, , path] = line.split(' ')
    const superOptions = line.slice(line.indexOf(' - ') + 3).split(' ')[2]
    if (number !== wanted || path === undefined || superOptions === undefined) return []
    const isWritable = superOptions.split(',').includes('rw')
    return [{ path: path.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8))), isWritable }]
  })
} // prettier-ignore

function processes(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
}

/** Undefined: the process has ended. */
function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`)
  } catch {
    return undefined
  }
}

function mountInfoOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
  } catch {
    return '' // it has ended
  }
}
