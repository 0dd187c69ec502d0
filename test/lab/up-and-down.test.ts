import './own-lab.ts'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { killQuietly } from '../../lab/cgroups.ts'
import { loopDevices } from '../../lab/drives.ts'
import {
  describeLeftovers,
  findLeftovers,
  Lab,
  labProcesses,
  labStatus,
  projectRoot,
  takeLabDown,
} from '../../lab/index.ts'
import { Drive } from '../../src/api/index.ts'
import { VolumeAttacher } from '../../src/storage/agent/index.ts'
import { backingFileOf } from '../../src/storage/pools/file/loop-device.ts'
import { takeMachineInventory } from './machine-inventory.ts'

const up = ['lab', 'up', '--nodes', '2']
const dctl = join(projectRoot, 'bin', 'dctl')

beforeAll(() => takeLabDown())
afterAll(() => takeLabDown())

/**
 * What the lab has left. Programs do not tell whose they are, and those of another lab that has just gone stay in the kernel
 * for a moment.
 */
async function leftovers(): Promise<string[]> {
  const { programs, ...rest } = await findLeftovers()
  if (programs.length > 0) await sleep(2000)
  return describeLeftovers({ ...rest, programs: programs.length > 0 ? (await findLeftovers()).programs : [] })
}

/** Runs dctl and sends it a signal after some milliseconds; returns its exit code, null when it was killed. */
async function interrupt(args: string[], milliseconds: number, signal: NodeJS.Signals): Promise<number | null> {
  const child = spawn(dctl, args, { stdio: 'ignore' })
  const exited = once(child, 'exit') as Promise<[number | null]>
  await Promise.race([sleep(milliseconds), exited])
  child.kill(signal)
  return (await exited)[0]
}

describe('a lab that goes up and down', () => {
  it('leaves the machine as it was', async () => {
    const before = await takeMachineInventory()
    const lab = await Lab.up({ nodes: 2 })
    await lab.addHost({ name: 'gateway', vlan: 100, address: '10.30.0.1/24' })
    expect((await leftovers()).length).toBeGreaterThan(5) // else the inventory would see nothing of a lab at all
    await lab.down()
    expect(await leftovers()).toEqual([])
    expect(await takeMachineInventory()).toEqual(before)
  })

  it('is left alone by a second up, refused to an up with other wishes, and gone after a second down', async () => {
    await Lab.up({ nodes: 1, bare: true })
    const started = labStatus()
    await Lab.up({ nodes: 1, bare: true })
    expect(labStatus()).toEqual(started)
    await expect(Lab.up({ nodes: 2, bare: true })).rejects.toMatchObject({
      code: 'Conflict',
      message: expect.stringContaining('1 nodes'),
      remedy: expect.stringContaining('dctl lab down'),
    })
    expect(await takeLabDown()).toBe(true)
    expect(await takeLabDown()).toBe(false)
  })

  it('is removed by Ctrl-C while it goes up', async () => {
    for (const moment of [250, 500, 900]) {
      const exitCode = await interrupt(up, moment, 'SIGINT')
      // up may have been ready before the signal came
      if (exitCode === 0) await takeLabDown()
      expect({ moment, left: await leftovers() }).toEqual({ moment, left: [] })
    }
  })

  it('leaves nothing after down when up was killed at any moment', { timeout: 600_000 }, async () => {
    for (let round = 0; round < 20; round++) {
      const moment = Math.round(100 + Math.random() * 1800)
      await interrupt(up, moment, 'SIGKILL')
      await takeLabDown()
      expect({ moment, left: await leftovers() }).toEqual({ moment, left: [] })
    }
  })

  it('leaves nothing after a second down when the first was killed', async () => {
    for (const moment of [120, 150, 180, 210, 240]) {
      const lab = await Lab.up({ nodes: 2, bare: true })
      await lab.addHost({ name: 'gateway', vlan: 100, address: '10.30.0.1/24' })
      await interrupt(['lab', 'down'], moment, 'SIGKILL')
      await takeLabDown()
      expect({ moment, left: await leftovers() }).toEqual({ moment, left: [] })
    }
  })

  it.each([null, 3000])(
    'leaves nothing after down when all of it was killed at once with a volume in use; operations of its drive: %s',
    { timeout: 120_000 },
    async (driveIops) => {
      const lab = await Lab.up({ nodes: 1, driveIops })
      await vi.waitFor(() => lab.store.get(Drive, { name: 'n1.drive0' }), { timeout: 60_000 })
      await lab.dctl(['drive', 'format', 'n1.drive0', '-y'], { deadline: 60_000 })
      await lab.dctl(['volume', 'create', 'kept', '-s', '64Mi'])
      const device = await new VolumeAttacher({ store: lab.store, nodeName: 'n1', patience: 60_000 }).attach('kept')
      await lab.nodeExec('n1', ['mkfs.ext4', '-q', device])
      await lab.nodeExec('n1', ['mount', device, '/mnt'])
      const isInUse = (): boolean => loopDevices().some(({ file }) => file === fileOfVolume)
      const fileOfVolume = backingFileOf(basename(device))!.replace(/^.*(?=\/[^/]+\/data$)/, '')
      for (const pid of labProcesses()) killQuietly(pid) // some end with others
      await vi.waitFor(() => expect(isInUse()).toBe(true), { timeout: 10_000 }) // else there is nothing to be removed
      await takeLabDown()
      expect(await leftovers()).toEqual([])
      expect(isInUse()).toBe(false)
    },
  )

  it('goes up over what a killed up left', async () => {
    await interrupt(up, 400, 'SIGKILL')
    const lab = await Lab.up({ nodes: 1, bare: true })
    expect(lab.nodes).toEqual(['n1'])
    await lab.down()
    expect(await leftovers()).toEqual([])
  })
})
