import { describe, expect, it } from 'vitest'
import { cgroupHierarchies } from './cgroups.ts'
import { describeLeftovers, labMounts } from './leftovers.ts'
import { labDirectory, labPrefix } from './places.ts'

const mountinfo = `22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
40 22 0:4 net:[1] /run/netns/${labPrefix}-switch rw - nsfs nsfs rw
41 22 0:4 net:[2] /run/netns/another rw - nsfs nsfs rw
42 22 254:0 / ${labDirectory}/disks rw - ext4 /dev/vda rw
43 22 254:0 / ${labDirectory}oratory rw - ext4 /dev/vda rw
44 42 254:0 / ${labDirectory}/disks/n1 rw - ext4 /dev/vda rw
`

describe('labMounts', () => {
  it("finds the lab's mounts and nobody else's, the inner ones first", () => {
    expect(labMounts(mountinfo)).toEqual([
      `${labDirectory}/disks/n1`,
      `${labDirectory}/disks`,
      `/run/netns/${labPrefix}-switch`,
    ])
  })
})

describe('cgroupHierarchies', () => {
  it('tells version 1 from the unified hierarchy', () => {
    expect(cgroupHierarchies(mountinfo)).toEqual([
      { path: '/sys/fs/cgroup/memory', version: 1 },
      { path: '/sys/fs/cgroup/unified', version: 2 },
    ])
  })
})

describe('describeLeftovers', () => {
  it('is empty only when nothing is left', () => {
    const nothing = {
      processes: [],
      namespaces: [],
      mounts: [],
      devices: [],
      cgroups: [],
      programs: [],
      loopDevices: [],
      directories: [],
    }
    expect(describeLeftovers(nothing)).toEqual([])
    expect(describeLeftovers({ ...nothing, devices: ['cbl-x'] })).toEqual(['devices: cbl-x'])
  })
})
