import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CgroupV2 } from './cgroup-v2.ts'
import { foldersBelow } from './cgroup-tree.ts'
import { parseDiskStat } from './disk-stat.ts'
import { findCgroupIo } from './find-cgroup-io.ts'
import { consumersAt } from './guarded.ts'

const uid = '28f3a341-3fe3-494e-a69f-982ea5f126ea'
let root: string
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'carbonado-cgroups-'))))
afterEach(() => rmSync(root, { recursive: true }))

/** A folder with the files that the io controller has in every cgroup but the root. */
function cgroup(name: string, stat = ''): string {
  const folder = join(root, name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'io.stat'), stat)
  writeFileSync(join(folder, 'io.max'), '')
  return folder
}

describe('CgroupV2', () => {
  const stat = '7:5 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n'

  it('limits a pod as a whole, and others that have used the device in their innermost cgroup', () => {
    const pod = cgroup(`kubepods/pod${uid}`, stat)
    cgroup(`kubepods/pod${uid}/container`, stat)
    cgroup('kubepods', stat)
    cgroup('system', stat)
    const service = cgroup('system/backup', stat)
    cgroup('system/quiet')
    const chosen = new CgroupV2(root).choose('7:5', foldersBelow(root), consumersAt([`/pods/${uid}/volumes/x/mount`]))
    expect(chosen.sort()).toEqual([pod, service].sort())
  })

  it('knows the pod of a volume before it has used it', () => {
    const pod = cgroup(`kubepods/pod${uid.replaceAll('-', '_')}.slice`)
    expect(new CgroupV2(root).choose('7:5', foldersBelow(root), consumersAt([`/publish/pv/${uid}`]))).toEqual([pod])
  })

  it('reads what was asked for, and writes limits of one direction', () => {
    const folder = cgroup('pod', stat)
    const io = new CgroupV2(root)
    expect(io.counters(folder, '7:5').write).toEqual({ operations: 2, bytes: 8192 })
    expect(io.counters(folder, '7:55').read).toEqual({ operations: 0, bytes: 0 })
    io.limit(folder, '7:5', 'write', { operations: 99.6, bytes: Infinity })
    expect(readFileSync(join(folder, 'io.max'), 'utf8')).toBe('7:5 wiops=100 wbps=max')
    io.limit(folder, '7:5', 'read', undefined)
    expect(readFileSync(join(folder, 'io.max'), 'utf8')).toBe('7:5 riops=max rbps=max')
    expect(() => io.limit(join(root, 'gone'), '7:5', 'read', undefined)).not.toThrow()
  })
})

describe('findCgroupIo', () => {
  it('finds blkio of version 1, io of version 2, and none where there is none', () => {
    const line = (path: string, type: string, options: string): string =>
      `1 2 0:3 / ${path} rw - ${type} cgroup ${options}`
    expect(findCgroupIo(line('/c/blkio', 'cgroup', 'rw,blkio'))).toMatchObject({ version: 1, root: '/c/blkio' })
    expect(findCgroupIo(line('/c/cpu', 'cgroup', 'rw,cpu'))).toBeUndefined()
    expect(findCgroupIo(line(root, 'cgroup2', 'rw'))).toBeUndefined()
    writeFileSync(join(root, 'cgroup.controllers'), 'cpuset cpu io memory\n')
    expect(findCgroupIo(line(root, 'cgroup2', 'rw'))).toMatchObject({ version: 2, root })
  })
})

describe('parseDiskStat', () => {
  it('counts reads and writes, and leaves discards and flushes out', () => {
    const text = '  10 0 80 5  20 0 320 7 3  8 12  4 0 1000 1 6 2\n'
    expect(parseDiskStat(text)).toEqual({ operations: 30, bytes: 400 * 512, busy: 12, inFlight: 3 })
  })
})
