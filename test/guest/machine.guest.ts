import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const run = (file: string, ...args: string[]): string => execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' })

describe('the machine', () => {
  it('has a kernel with the drivers that the tests are about', () => {
    const drivers = ['dm-thin-pool', 'dm-snapshot', 'dm-raid', 'dm-flakey', 'raid1', 'loop', 'bonding', '8021q', 'xfs', 'btrfs', 'ext4']
    run('modprobe', '-a', ...drivers)
    const loaded = readFileSync('/proc/modules', 'utf8')
    for (const driver of drivers) expect(loaded).toMatch(new RegExp(`^${driver.replaceAll('-', '_')} `, 'm'))
  }) // prettier-ignore

  it('has two drives that can discard', () => {
    const { blockdevices } = JSON.parse(run('lsblk', '--json', '--bytes', '-o', 'NAME,SIZE,DISC-MAX')) as {
      blockdevices: { name: string; size: number; 'disc-max': number }[]
    }
    const drives = blockdevices
      .filter((device) => device.name.startsWith('nvme'))
      .sort((one, two) => one.name.localeCompare(two.name))
    expect(drives.map((device) => device.name)).toEqual(['nvme0n1', 'nvme1n1'])
    for (const device of drives) expect(device['disc-max']).toBeGreaterThan(0)
  })

  it('writes to a layer of its own above the files of the machine that runs it', () => {
    expect(readFileSync('/proc/mounts', 'utf8')).toMatch(/^overlay \/ overlay rw,/m)
    writeFileSync('/usr/only-in-the-guest', '')
  })
})
