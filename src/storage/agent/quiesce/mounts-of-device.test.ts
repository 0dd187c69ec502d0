import { expect, it } from 'vitest'
import { mountsIn } from './mounts-of-device.ts'

const mountInfo = [
  '22 28 0:20 / /proc rw,nosuid shared:5 - proc proc rw',
  '31 28 7:3 / /run/data\\040base ro,relatime shared:9 master:2 - ext4 /dev/loop3 rw,errors=remount-ro',
  '32 28 7:3 /sub /mnt rw - ext4 /dev/loop3 rw',
  '33 28 7:30 / /other rw - xfs /dev/loop30 ro,attr2',
  '',
].join('\n')

it('finds every mount of a device, and whether its filesystem can be written', () => {
  expect(mountsIn(mountInfo, '7:3')).toEqual([
    { path: '/run/data base', isWritable: true },
    { path: '/mnt', isWritable: true },
  ])
  expect(mountsIn(mountInfo, '7:30')).toEqual([{ path: '/other', isWritable: false }])
  expect(mountsIn(mountInfo, '7:4')).toEqual([])
})
