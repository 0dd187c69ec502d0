import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Volume } from '../../src/api/index.ts'
import { VolumeAttacher } from '../../src/storage/agent/index.ts'
import { expectNoVolumes, takeVolumesAway, volumeStorm } from '../support/volume-storm.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await lab.dctl(['drive', 'format', '--all', '-y'], { deadline: 60_000 })
})
afterAll(() => lab.down())

async function dctl(line: string): Promise<string> {
  return (await lab.dctl(line.split(' '), { deadline: 60_000 })).stdout
}

/** Runs a shell script on a node. */
async function on(node: string, script: string): Promise<string> {
  return (await lab.nodeExec(node, ['sh', '-ec', script], { deadline: 60_000 })).stdout.trim()
}

function attacher(node: string): VolumeAttacher {
  return new VolumeAttacher({ store: lab.store, nodeName: node })
}

async function eventually<T>(what: string, ask: () => Promise<T | undefined | false>, seconds = 20): Promise<T> {
  const giveUp = Date.now() + seconds * 1000
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (Date.now() > giveUp) throw new Error(`waited ${seconds} s in vain for ${what}`)
    await sleep(50)
  }
}

it('a volume that is copied to another node goes on where it was when an agent is killed', async () => {
  await dctl('volume create big -s 256Mi -n n1 -b')
  const device = await attacher('n1').attach('big')
  const sum = (node: string, path: string): Promise<string> =>
    on(node, `dd if=${path} bs=1M iflag=direct status=none | sha256sum`)
  await on('n1', `dd if=/dev/urandom of=${device} bs=1M count=230 oflag=direct status=none`)
  await dctl('snapshot create big-s --src big')
  const expected = await sum('n1', device)
  const source = { snapshotName: 'big-s' }
  const spec = { size: '256Mi', mirrorCount: 1, source, nodeNames: ['n2'] }
  await lab.store.create(Volume, { metadata: { name: 'far' }, spec })
  const seen: number[] = []
  const kills = [
    async () => lab.killAgent('n2').then(() => lab.startAgent('n2')),
    async () => lab.killAgent('n1').then(() => lab.startAgent('n1')),
  ]
  await eventually(
    'the copy',
    async () => {
      const { status } = await lab.store.get(Volume, { name: 'far' })
      const progress = status?.progress ?? 0
      if (progress > (seen.at(-1) ?? 0)) {
        seen.push(progress)
        await kills[seen.length - 1]?.()
      }
      return status?.phase === 'Available'
    },
    60,
  )
  expect(seen.length).toBeGreaterThanOrEqual(kills.length)
  expect(await sum('n2', await attacher('n2').attach('far'))).toBe(expected)
  await Promise.all([attacher('n1').detach('big'), attacher('n2').detach('far')])
  await dctl('snapshot delete big-s -y')
  await dctl('volume delete big far -y')
})

it('200 agents and controls killed while volumes come and go: no write is lost, nothing is left', async () => {
  expect(await volumeStorm(lab, { workers: 6, kills: 200 })).toBeGreaterThanOrEqual(200)
  await takeVolumesAway(lab)
  await expectNoVolumes(lab)
})
