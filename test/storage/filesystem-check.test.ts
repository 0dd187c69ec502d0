import { constants, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeEach, afterEach, expect, it } from 'vitest'
import { kernelPublishSystem } from '../../src/storage/agent/publish/publish-system.ts'
import { attachLoop, describeLoop, detachLoop } from '../../src/storage/pools/file/loop-device.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

enterOwnNamespaces()
const scratch = mkdtempSync('/var/tmp/carbonado-check-')
const image = `${scratch}/image`
afterAll(() => rmSync(scratch, { recursive: true }))

let device: string

beforeEach(async () => {
  writeFileSync(image, '')
  truncateSync(image, 16 * 2 ** 20)
  run('mkfs.ext4', '-q', image)
  device = await attachLoop(image, { sectorSize: 512, readOnly: false })
})
afterEach(async () => detachLoop((await describeLoop(device))!))

const openAlone = () => open(device, constants.O_RDONLY | constants.O_EXCL)

it('a device that somebody has for himself for a moment is checked after that', async () => {
  const held = await openAlone()
  const checked = kernelPublishSystem.check(device)
  const first = await Promise.race([checked.then(() => 'checked'), sleep(500, 'waiting')])
  await held.close()
  await checked
  expect(first).toBe('waiting')
})

it('a device that somebody keeps is told to be in use, not to be damaged', async () => {
  await using _held = await openAlone()
  await expect(kernelPublishSystem.check(device)).rejects.toMatchObject({
    code: 'Conflict',
    message: expect.stringMatching(`^${device} is in use by .* \\(${process.pid}\\)$`) as string,
  })
})

it('a device that somebody has for himself for a moment is mounted after that', async () => {
  const held = await openAlone()
  const mounted = kernelPublishSystem.mount(device, scratch, 'ext4', ['ro'])
  await sleep(300)
  await held.close()
  await mounted
  await kernelPublishSystem.unmount(scratch)
})

it('a mount that is covered by another one cannot be unmounted, and that is said', async () => {
  const folder = `${scratch}/below`
  const mounted = `${folder}/volume`
  mkdirSync(mounted, { recursive: true })
  run('mount', '-t', 'tmpfs', 'none', mounted)
  run('mount', '-t', 'tmpfs', 'none', folder)
  await expect(kernelPublishSystem.unmount(mounted)).rejects.toMatchObject({
    code: 'Conflict',
    message: expect.stringContaining('is covered by another mount') as string,
  })
  run('umount', folder)
  await kernelPublishSystem.unmount(mounted)
  await kernelPublishSystem.unmount(mounted)
})

it('damage is told as such', async () => {
  run('dd', 'if=/dev/zero', `of=${device}`, 'bs=1K', 'seek=1', 'count=16000', 'conv=notrunc', 'status=none')
  await expect(kernelPublishSystem.check(device)).rejects.toMatchObject({
    code: 'Conflict',
    message: expect.stringContaining('damage that is not mended by itself') as string,
  })
})
