import './own-lab.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Drive } from '../../src/api/index.ts'
import { VolumeAttacher } from '../../src/storage/agent/index.ts'
import { insist } from '../support/among-kills.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await lab.dctl(['drive', 'format', '--all', '-y'], { deadline: 60_000 })
})
afterAll(() => lab.down())

async function dctl(line: string): Promise<string> {
  return (await lab.dctl(line.split(' '), { deadline: 120_000 })).stdout
}

async function on(node: string, script: string): Promise<string> {
  return (await lab.nodeExec(node, ['sh', '-ec', script], { deadline: 240_000 })).stdout.trim()
}

function attach(volume: string): Promise<string> {
  return insist(() => new VolumeAttacher({ store: lab.store, nodeName: 'n1' }).attach(volume))
}

function detach(volume: string): Promise<void> {
  return insist(() => new VolumeAttacher({ store: lab.store, nodeName: 'n1' }).detach(volume))
}

/** Checked 4 KiB random I/O at depth 32 on the first 192 MiB of a device. */
function fio(device: string, ...options: string[]): Promise<string> {
  const job = ['--name=check', `--filename=${device}`, '--size=192M', '--bs=4k', '--iodepth=32', '--ioengine=libaio', '--direct=1', '--rw=randwrite', '--verify=crc32c', '--verify_state_save=0', '--verify_fatal=1', '--randseed=7']
  return on('n1', ['fio', ...job, ...options].join(' '))
} // prettier-ignore

async function driveState(): Promise<string | undefined> {
  return (await lab.store.get(Drive, { name: 'n2.drive0' })).status?.agent?.state
}

it('what is written at depth 32 is right through snapshots, clones, enlargements, restore and killed agents', async () => {
  await dctl('volume create data -s 192Mi -n n1 -b')
  const device = await attach('data')
  await fio(device, '--do_verify=0')
  await dctl('snapshot create first --src data')
  const writing = fio(device, '--time_based', '--runtime=20', '--verify_backlog=1024', '--randrepeat=0')
  const disturbing = (async () => {
    for (let round = 0; round < 4; round++) {
      await lab.killAgent('n1')
      await lab.startAgent('n1')
      await insist(() => dctl(`volume update data -s ${224 + 32 * round}Mi`))
      await dctl(`snapshot create during-${round} --src data`)
    }
    await dctl('volume create copy --src first -n n1')
  })()
  await Promise.all([writing, disturbing])
  await fio(await attach('copy'), '--verify_only')
  await detach('data')
  await dctl('volume restore data --source-snapshot first -y')
  const restored = await attach('data')
  expect(Number(await on('n1', `blockdev --getsize64 ${restored}`))).toBe(320 * 2 ** 20)
  await fio(restored, '--verify_only')
  await Promise.all([detach('data'), detach('copy')])
  await dctl('snapshot delete first during-0 during-1 during-2 during-3 -y')
  await dctl('volume delete data copy -y')
})

it('a drive that is not there when the agent starts is Missing with its volumes, and all is back with it', async () => {
  await dctl('volume create away -s 64Mi -n n2 -b')
  const path = '/run/carbonado/drives/drive0'
  await lab.stopAgent('n2')
  const target = await on('n2', `readlink ${path}; rm ${path}`)
  await lab.startAgent('n2')
  await expect.poll(driveState, { timeout: 30_000 }).toBe('Missing')
  await expect.poll(() => dctl('volume list'), { timeout: 30_000 }).toMatch(/away .*Pending/)
  await on('n2', `ln -s ${target} ${path}`)
  await expect.poll(driveState, { timeout: 60_000 }).toBe('Ready')
  await expect.poll(() => dctl('volume list'), { timeout: 30_000 }).toMatch(/away .*Available/)
  await dctl('volume delete away -y')
})
