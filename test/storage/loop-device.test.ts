import { constants, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { detach } from '../../lab/drives.ts'
import { execJson } from '../../src/base/index.ts'
import { inspectDevice } from '../../src/storage/agent/block-device.ts'
import { attachLoop, describeLoop, detachLoop, type LoopDevice } from '../../src/storage/pools/file/loop-device.ts'
import { enterOwnNamespaces, run, succeeds } from '../support/own-namespaces.ts'

enterOwnNamespaces()
const scratch = mkdtempSync('/var/tmp/carbonado-loop-device-')
const [one, other] = [`${scratch}/one`, `${scratch}/other`]

beforeEach(() => void run('truncate', '--size', '1M', one, other))
afterAll(() => rmSync(scratch, { recursive: true }))

const fileBehind = (devicePath: string): string =>
  readFileSync(`/sys/block/${basename(devicePath)}/loop/backing_file`, 'utf8').trim()

const attach = (): Promise<string> => attachLoop(one, { sectorSize: 512, readOnly: false })

let devicePath: string

/** Detaches what a test that failed has left. Numbers are given to the tests of other lanes, too. */
afterEach(async () => {
  const name = (await execJson<Listed>(list))!.loopdevices.find(({ 'back-file': file }) =>
    file?.startsWith(scratch),
  )?.name
  if (name !== undefined) run('losetup', '--detach', name)
})

interface Listed {
  loopdevices: { name: string; 'back-file': string | null }[]
}
const list: [string, ...string[]] = ['losetup', '--json', '--list', '--output', 'NAME,BACK-FILE']

it.each([
  ['a pool', async () => detachLoop((await describeLoop(devicePath))!)],
  ['a lab', () => detach([{ name: devicePath, 'back-file': one }])],
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
  await detach([{ name: devicePath, 'back-file': one }])
  expect(fileBehind(devicePath)).toBe(other)
})

it('a device without a single byte is no blank drive', async () => {
  devicePath = await attach()
  expect(await inspectDevice(devicePath)).toMatchObject({ found: [], size: 2 ** 20 })
  run('truncate', '--size', '0', one)
  run('losetup', '--set-capacity', devicePath)
  await expect(inspectDevice(devicePath)).rejects.toThrow('no bytes at all')
})
