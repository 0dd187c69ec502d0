import { execFileSync } from 'node:child_process'

/**
 * Makes a drive of a part of the guest's first one, because filling it up takes its time there. `name`: of its device;
 * `start`: GiB before that part. Files that run in the same guest need drives of their own.
 */
export function lvmThinDrive({ name = 'drive', start = 0 } = {}): string {
  const [first, sectors] = [start, 1.25].map((gibibytes) => (gibibytes * 2 ** 30) / 512)
  execFileSync('modprobe', ['dm-mod'])
  execFileSync('dmsetup', ['create', name, '--table', `0 ${sectors} linear /dev/nvme0n1 ${first}`])
  return `/dev/mapper/${name}`
}
