import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Drive } from '../../src/api/index.ts'
import { VolumeAttacher } from '../../src/storage/agent/index.ts'
import { expectNoVolumes, takeVolumesAway, volumeStorm } from '../support/volume-storm.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2, driveSize: 3 * 2 ** 30 })
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
  return new VolumeAttacher({ store: lab.store, nodeName: node, patience: 60_000 })
}

/** Takes a snapshot of a filesystem that stands still, which is refused when a busy machine writes it out too slowly. */
async function takeQuiesced(snapshot: string, volume: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await dctl(`snapshot create ${snapshot} --src ${volume} --quiesce`)
      return
    } catch (error) {
      if (attempt === 5 || !/written out|frozen/.test(String(error))) throw error
      await dctl(`snapshot delete ${snapshot} -y`)
    }
  }
}

/** Attaches and mounts a volume; returns its mount point. */
async function mount(node: string, volume: string, makeFilesystem = false): Promise<string> {
  const device = await attacher(node).attach(volume)
  const folder = `/run/mounted-${volume}`
  await on(
    node,
    `${makeFilesystem ? `mkfs.xfs -q ${device};` : ''} mkdir -p ${folder}; mount -o nouuid ${device} ${folder}`,
  )
  return folder
}

async function unmount(node: string, volume: string): Promise<void> {
  await on(node, `umount /run/mounted-${volume}`)
  await attacher(node).detach(volume)
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

describe('drives', () => {
  it('are found, refused while there is data on them, and become pools', async () => {
    await eventually('the drives', async () => {
      const { items } = await lab.store.list(Drive)
      return items.filter(({ status }) => status?.agent).length === 2
    })
    expect(await dctl('drive list')).toMatch(/n1\.drive0 +n1 +drive0 +3GiB +Blank/)
    await on('n2', 'mkfs.ext4 -q -L precious /run/carbonado/drives/drive0')
    await expect(dctl('drive format n2.drive0 -y')).rejects.toThrow(/there is data on it: ext4 "precious"/)
    await Promise.all([dctl('drive format n1.drive0 -y'), dctl('drive format n2.drive0 --force -y')])
    for (const name of ['n1.drive0', 'n2.drive0']) {
      const { status } = await lab.store.get(Drive, { name })
      expect(status?.agent).toMatchObject({ state: 'Ready', found: [] })
      expect(status!.agent!.calibration!.readIops).toBeGreaterThan(100)
    }
  })
})

describe('a volume', () => {
  it(
    'keeps what is written through snapshot, clone, a copy to another node, restore and online resize',
    { timeout: 600_000 },
    async () => {
      expect(await dctl('volume create v1 -s 400Mi -n n1 -f xfs -p best-effort')).toContain(
        'volume v1 created: 400 MiB on node n1',
      )
      const folder = await mount('n1', 'v1', true)
      await on(
        'n1',
        `head -c 20M /dev/urandom > ${folder}/first; sha256sum < ${folder}/first > ${folder}/sum; sync -f ${folder}`,
      )
      await dctl('snapshot create s1 --src v1')
      await on('n1', `rm ${folder}/first; echo later > ${folder}/second; sync -f ${folder}`)
      const [near, far, clone] = await Promise.all([
        dctl('volume create v2 --src s1 -n n1'),
        dctl('volume create v3 --src s1 -n n2'),
        dctl('volume create v5 --src-volume v1 -n n2'),
      ])
      expect([near, far, clone].map((text) => /on node (n\d)/.exec(text)?.[1])).toEqual(['n1', 'n2', 'n2'])
      expect(await on('n2', `ls ${await mount('n2', 'v5')}`)).toContain('second')
      await unmount('n2', 'v5')
      await eventually(
        'the snapshot for the clone to go',
        async () => !(await dctl('snapshot list')).includes('clone-'),
      )
      await dctl('volume delete v5 -y')
      for (const [node, volume] of [
        ['n1', 'v2'],
        ['n2', 'v3'],
      ] as const) {
        const folderOfClone = await mount(node, volume)
        expect(await on(node, `cd ${folderOfClone}; sha256sum < first | cmp - sum; ls`)).toContain('first')
        expect(await on(node, `ls ${folderOfClone}`)).not.toContain('second')
        await unmount(node, volume)
      }
      await on('n1', `echo only in memory > ${folder}/unflushed`)
      await takeQuiesced('s2', 'v1')
      await dctl('volume create v4 --src s2 -n n1')
      expect(await on('n1', `cat ${await mount('n1', 'v4')}/unflushed`)).toBe('only in memory')
      await unmount('n1', 'v4')
      await dctl('volume delete v4 -y')
      await dctl('snapshot delete s2 -y')
      await dctl('volume update v1 -s 600Mi')
      expect(Number(await on('n1', `df --output=size -m ${folder} | tail -1`))).toBeGreaterThan(500)
      expect(await on('n1', `cat ${folder}/second`)).toBe('later')
      await expect(dctl('volume restore v1 -s s1 -y')).rejects.toThrow('is attached to node n1')
      await unmount('n1', 'v1')
      await dctl('volume restore v1 -l -y')
      await mount('n1', 'v1')
      expect(await on('n1', `cd ${folder}; sha256sum < first | cmp - sum; ls`)).not.toContain('second')
    },
  )

  it(
    'has its device and everything that was flushed after a power failure of its node',
    { timeout: 600_000 },
    async () => {
      await on('n1', `echo flushed > /run/mounted-v1/flushed; sync -f /run/mounted-v1`)
      await lab.killNode('n1')
      await lab.startNode('n1')
      await lab.waitForReady()
      await eventually('the device', async () => {
        const device = await attacher('n1')
          .attach('v1')
          .catch(() => undefined) // as it was before, until the agent runs
        if (device === undefined) return false
        const folder = '/run/mounted-v1'
        // the object may still name the device of before, which is nobody's now, or somebody else's
        const script = `mkdir -p ${folder}; mount ${device} ${folder}; test -e ${folder}/flushed || { umount ${folder}; false; }`
        return on('n1', script).then(
          () => true,
          () => false,
        )
      })
      expect(await on('n1', 'cat /run/mounted-v1/flushed')).toBe('flushed')
      await unmount('n1', 'v1')
    },
  )

  it('is deleted after its snapshots, and leaves nothing', async () => {
    await expect(dctl('volume delete v1 -y')).rejects.toThrow('in use by 1 snapshot: s1')
    await dctl('snapshot delete s1 -y')
    await dctl('volume delete v1 v2 v3 -y')
    await expectNoVolumes(lab)
  })
})

describe('a storm with killed programs', () => {
  it('loses no write, and leaks no device, entry or object', { timeout: 600_000 }, async () => {
    await volumeStorm(lab, { workers: 4, rounds: 2 })
    await takeVolumesAway(lab)
    await expectNoVolumes(lab)
  })
})
