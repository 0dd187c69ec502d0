import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { basename } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { detach } from '../../lab/drives.ts'
import { inspectDevice } from '../../src/storage/agent/block-device.ts'
import { attachLoop, describeLoop, detachLoop } from '../../src/storage/pools/file/loop-device.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

enterOwnNamespaces()
const scratch = mkdtempSync('/var/tmp/carbonado-loop-device-')
const [one, other] = [`${scratch}/one`, `${scratch}/other`]

beforeAll(() => void run('truncate', '--size', '1M', one, other))
afterAll(() => rmSync(scratch, { recursive: true }))

const fileBehind = (devicePath: string): string =>
  readFileSync(`/sys/block/${basename(devicePath)}/loop/backing_file`, 'utf8').trim()

const attach = (): Promise<string> => attachLoop(one, { sectorSize: 512, readOnly: false })

it.each([
  ['a pool', async (devicePath: string) => detachLoop((await describeLoop(devicePath))!)],
  ['a lab', (devicePath: string) => detach([{ name: devicePath, 'back-file': one }])],
])('a device is removed by %s', async (_whose, remove) => {
  const devicePath = await attach()
  await remove(devicePath)
  expect(await describeLoop(devicePath)).toBeUndefined()
})

it('a device that is of another file by now is left alone', async () => {
  const devicePath = await attach()
  const known = (await describeLoop(devicePath))!
  run('losetup', '--detach', devicePath)
  run('losetup', devicePath, other) // as another program would get it from the kernel
  await detachLoop(known)
  await detach([{ name: devicePath, 'back-file': one }])
  expect(fileBehind(devicePath)).toBe(other)
  run('losetup', '--detach', devicePath)
})

it('a device without a file is no blank drive', async () => {
  const devicePath = await attach()
  expect(await inspectDevice(devicePath)).toMatchObject({ found: [], size: 2 ** 20 })
  await detachLoop((await describeLoop(devicePath))!)
  await expect(inspectDevice(devicePath)).rejects.toMatchObject({ code: 'NotFound' })
})
