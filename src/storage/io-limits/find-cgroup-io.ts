import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CgroupIo } from './cgroup-io.ts'
import { CgroupV1 } from './cgroup-v1.ts'
import { CgroupV2 } from './cgroup-v2.ts'

/** The hierarchy of this machine that can hold I/O back; undefined when none is mounted that can. */
export function findCgroupIo(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): CgroupIo | undefined {
  const mounts = mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const [type, , options = ''] = after.split(' ')
    const path = before.split(' ')[4]
    return path === undefined ? [] : [{ type, path, options: options.split(',') }]
  })
  const blkio = mounts.find(({ type, options }) => type === 'cgroup' && options.includes('blkio'))
  if (blkio) return new CgroupV1(blkio.path)
  const unified = mounts.find(({ type, path }) => type === 'cgroup2' && controllersOf(path).includes('io'))
  return unified && new CgroupV2(unified.path)
}

function controllersOf(path: string): string[] {
  try {
    return readFileSync(join(path, 'cgroup.controllers'), 'utf8').trim().split(' ')
  } catch {
    return []
  }
}
