import { readFileSync } from 'node:fs'

/**
 * Identifies the boot of this node: that of the kernel, with the start of process 1, because a node may be a set of
 * namespaces whose mounts go when their first process ends.
 */
export function bootOfNode(): string {
  const kernel = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const [, afterName = ''] = readFileSync('/proc/1/stat', 'utf8').split(') ')
  return `${kernel}:${afterName.split(' ')[19]}` // field 22 of proc(5), starttime
}
