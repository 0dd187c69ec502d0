import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { LvmThinFormat } from '../../../src/storage/pools/index.ts'

const mebibyte = 2 ** 20
const size = 64 * mebibyte
const format = new LvmThinFormat()
const run = (...[file, ...args]: [string, ...string[]]): string => execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' }) // prettier-ignore
const runLater = promisify(execFile)

/** A part of a drive as a device. */
function part(name: string, drive: string, offset: number, bytes: number): string {
  run('dmsetup', 'create', name, '--table', `0 ${bytes / 512} linear ${drive} ${offset / 512}`)
  return `/dev/mapper/${name}`
}

/** Exchanges what is below a device in use. */
function exchange(device: string, table: string): void {
  run('dmsetup', 'reload', device, '--table', table)
  run('dmsetup', 'suspend', '--nolockfs', device)
  run('dmsetup', 'resume', device)
}

/** A volume of its own drive, and what a second copy of it needs. */
async function openVolume(id: string) {
  expect(await format.unsupportedReason()).toBeUndefined()
  run('modprobe', '-a', 'dm-raid', 'raid1')
  const drive = part(`${id}-drive`, '/dev/nvme0n1', 0, 512 * mebibyte)
  await format.format(drive, { id })
  const pool = await format.open(drive)
  await pool.create({ id: 'v', size, sectorSize: 4096 })
  const { devicePath } = await pool.activate('v', { readOnly: false })
  const single = run('dmsetup', 'table', devicePath).trim()
  const far = part(`${id}-far`, '/dev/nvme1n1', 0, size)
  const notes = [0, 1].map((leg) => part(`${id}-notes${leg}`, '/dev/nvme1n1', (100 + 8 * leg) * mebibyte, 4 * mebibyte))
  return {
    devicePath,
    far,
    addCopy: async () => {
      exchange(devicePath, `0 ${size / 512} raid raid1 3 0 rebuild 1 2 ${notes[0]} /dev/mapper/cbn--${id}-g0.v ${notes[1]} ${far}`) // prettier-ignore
      while (!/ AA (\d+)\/\1 idle /.test(run('dmsetup', 'status', devicePath))) await sleep(500)
    },
    removeCopy: () => exchange(devicePath, single),
    async [Symbol.asyncDispose]() {
      await pool.deactivate('v')
      await pool.close()
      for (const what of ['far', 'notes0', 'notes1', 'drive']) run('dmsetup', 'remove', '--retry', `${id}-${what}`)
      for (const device of ['/dev/nvme0n1', '/dev/nvme1n1']) run('blkdiscard', '--force', device)
    },
  }
}

it('a thin volume gets a second copy while its filesystem is mounted and written, and gives it up again', { timeout: 240_000 }, async () => {
  await using volume = await openVolume('mirror')
  const { devicePath, far } = volume
  run('mkfs.ext4', '-q', devicePath)
  mkdirSync('/run/mirrored')
  run('mount', devicePath, '/run/mirrored')
  const job = ['--name=check', '--directory=/run/mirrored', '--size=24M', '--bs=4k', '--iodepth=32', '--ioengine=libaio', '--direct=1', '--rw=randwrite', '--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0', '--verify_backlog=256']
  const writing = runLater('fio', [...job, '--time_based', '--runtime=10'])
  await volume.addCopy()
  await writing
  run('sync', '--file-system', '/run/mirrored')
  volume.removeCopy()
  await runLater('fio', [...job.filter((option) => !option.includes('backlog')), '--loops=1'])
  run('umount', '/run/mirrored')
  run('e2fsck', '-fn', devicePath)
  run('sh', '-c', `e2fsck -fy ${far} || [ $? = 1 ]`) // 1: recovered, as it was mounted when it was left behind
}) // prettier-ignore

it('a write waits while the second copy does not answer, and goes on when that copy is given up', { timeout: 240_000 }, async () => {
  await using volume = await openVolume('waits')
  const { devicePath } = volume
  await volume.addCopy()
  const data = randomBytes(mebibyte)
  writeFileSync('/run/data', data)
  run('dmsetup', 'suspend', '--noflush', '--nolockfs', 'waits-far') // what is sent to it waits, as for a peer that has gone
  let isAcknowledged = false
  const writing = runLater('dd', ['if=/run/data', `of=${devicePath}`, 'bs=1M', 'oflag=direct', 'conv=notrunc']).then(() => (isAcknowledged = true))
  await sleep(5000)
  expect(isAcknowledged).toBe(false)
  expect(run('dmsetup', 'status', devicePath)).toContain(' AA ')
  run('dmsetup', 'reload', 'waits-far', '--table', `0 ${size / 512} error`)
  run('dmsetup', 'resume', 'waits-far')
  await writing
  expect(run('dmsetup', 'status', devicePath)).toContain(' AD ')
  volume.removeCopy()
  run('dd', `if=${devicePath}`, 'of=/run/read', 'bs=1M', 'count=1', 'iflag=direct')
  expect(readFileSync('/run/read').equals(data)).toBe(true)
}) // prettier-ignore
