import { constants, mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { detach, loopDevices } from '../../lab/drives.ts'
import { inspectDevice } from '../../src/storage/agent/block-device.ts'
import {
  attachLoop,
  backingFileOf,
  describeLoop,
  detachLoop,
  type LoopDevice,
} from '../../src/storage/pools/file/loop-device.ts'
import { enterOwnNamespaces, run, succeeds } from '../support/own-namespaces.ts'

enterOwnNamespaces()
const scratch = mkdtempSync('/var/tmp/carbonado-loop-device-')
const [one, other] = [`${scratch}/one`, `${scratch}/other`]

beforeEach(() => void run('truncate', '--size', '1M', one, other))
afterAll(() => rmSync(scratch, { recursive: true }))

const attach = (): Promise<string> => attachLoop(one, { sectorSize: 512, readOnly: false })

let devicePath: string

/** What a test has left: numbers are given to the tests of other lanes, too. */
afterEach(() => detach(loopDevices().filter(({ file }) => file.startsWith(scratch))))

it.each([
  ['a pool', async () => detachLoop((await describeLoop(devicePath))!)],
  ['a lab', () => detach([{ devicePath, file: one }])],
])('a device is removed by %s', async (_whose, remove) => {
  devicePath = await attach()
  const known = (await describeLoop(devicePath))!
  await remove()
  expect(await describeLoop(devicePath)).not.toEqual(known)
})

/** Gives a device another file, as when another program gets its number; once more when one was faster. */
async function attachThenReplace(): Promise<LoopDevice> {
  for (;;) {
    devicePath = await attach()
    const known = (await describeLoop(devicePath))!
    run('losetup', '--detach', devicePath)
    if (succeeds('losetup', devicePath, other)) return known
  }
}

it.each(['idle', 'in use'])('a device that is of another file by now, and %s, is left alone', async (how) => {
  const known = await attachThenReplace()
  await using _held = how === 'in use' ? await open(devicePath, constants.O_RDONLY | constants.O_EXCL) : undefined
  await detachLoop(known)
  await detach([{ devicePath, file: one }])
  expect(backingFileOf(basename(devicePath))).toBe(other)
})

it('a device without a single byte is no blank drive', async () => {
  devicePath = await attach()
  expect(await inspectDevice(devicePath)).toMatchObject({ found: [], size: 2 ** 20 })
  run('truncate', '--size', '0', one)
  run('losetup', '--set-capacity', devicePath)
  await expect(inspectDevice(devicePath)).rejects.toThrow('no bytes at all')
})
