import './own-lab.ts'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { status, type ServiceError } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { capability, CsiClient } from '../../lab/csi-client.ts'
import { bringUp, createVolume, makeFolders, pathsOf, takeDown, type CsiUse } from '../../lab/csi-use.ts'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { programLog } from '../../lab/machines.ts'
import { Drive, Volume, VolumeAttachment } from '../../src/api/index.ts'
import { fuzzCsi } from '../support/csi-fuzz.ts'
import { csiStorm } from '../support/csi-storm.ts'
import { expectNoVolumes } from '../support/volume-storm.ts'

let lab: Lab
let csi: CsiClient

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2, driveSize: 3 * 2 ** 30 })
  await vi.waitFor(() => lab.store.get(Drive, { name: 'n2.drive0' }), { timeout: 60_000 })
  await lab.dctl(['drive', 'format', 'n1.drive0', 'n2.drive0', '-y'], { deadline: 60_000 })
  csi = new CsiClient('n1')
})
afterEach(() => expectNoVolumes(lab))
afterAll(async () => {
  csi?.[Symbol.dispose]()
  await lab?.down()
})

/** Runs a shell script on a node. */
async function on(node: string, script: string): Promise<string> {
  return (await lab.nodeExec(node, ['sh', '-ec', script], { deadline: 60_000 })).stdout.trim()
}

/** The code that a call is refused with, and why. */
async function refusal(call: Promise<unknown>): Promise<{ code: string; why: string }> {
  const error = (await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )) as ServiceError | undefined
  return error ? { code: status[error.code], why: error.details } : { code: 'OK', why: '' }
}

async function remove(volumeId: string, node = 'n1'): Promise<void> {
  using there = new CsiClient(node)
  await takeDown(there, volumeId, node)
  await csi.call('DeleteVolume', { volumeId })
}

const mebibyte = 2 ** 20

describe('what is written', () => {
  it.each([
    ['ext4', 'n1', 'n2'],
    ['xfs', 'n2', 'n1'],
    ['block', 'n1', 'n2'],
  ] as const)(
    'is there after snapshot, restore, clone, resize and the death of the agent: %s, restored on %s, cloned on %s',
    { timeout: 600_000 },
    async (filesystem, restoreNode, cloneNode) => {
      const [one, two, three] = [`data-${filesystem}`, `restored-${filesystem}`, `cloned-${filesystem}`] as const
      for (const node of ['n1', 'n2']) await makeFolders(lab, node, [one, two, three])
      const use: CsiUse = { volume: one, node: 'n1', filesystem }
      const size = 320 * mebibyte
      await createVolume(csi, use, { size })
      const at = (target: string): string => (filesystem === 'block' ? target : `${target}/file`)
      const path = at(await bringUp(csi, use))
      const before = await totalOf(one)
      const fio = (what: string, file: string, node = 'n1'): Promise<string> =>
        on(node, `cd /run; fio --name=x --filename=${file} --size=24M --bs=4k --iodepth=32 --ioengine=libaio --direct=1 --verify=crc32c --verify_state_save=0 --randseed=7 ${what}`) // prettier-ignore
      const writing = fio('--rw=randwrite --do_verify=0 --end_fsync=1', path)
      await sleep(200)
      await lab.killAgent('n1')
      await lab.startAgent('n1')
      await writing
      const snapshot = await untilThere(() => csi.call<{ snapshot: { snapshotId: string } }>('CreateSnapshot', { sourceVolumeId: one, name: `s-${filesystem}` })) // prettier-ignore
      const restored = await made(
        { ...use, volume: two, node: restoreNode },
        { size, source: { snapshot: snapshot.snapshot } },
      )
      const cloned = await made(
        { ...use, volume: three, node: cloneNode },
        { size, source: { volume: { volumeId: one } } },
      )
      const grown = { requiredBytes: size + 64 * mebibyte }
      const expanded = await csi.call<{ nodeExpansionRequired: boolean }>('ControllerExpandVolume', { volumeId: one, capacityRange: grown }) // prettier-ignore
      expect(expanded.nodeExpansionRequired).toBe(filesystem !== 'block')
      await growOnNode(one, filesystem, grown)
      const copies = [
        [path, 'n1'],
        [at(restored), restoreNode],
        [at(cloned), cloneNode],
      ] as const
      for (const [file, node] of copies) await fio('--rw=randread --verify_only', file, node)
      expect((await totalOf(one)) - before).toBeGreaterThan(50 * mebibyte)
      await csi.call('DeleteSnapshot', { snapshotId: snapshot.snapshot.snapshotId })
      await remove(one)
      await remove(two, restoreNode)
      await remove(three, cloneNode)
    },
  )

  /** Makes a volume from another or a snapshot, copied when it is on another node, and uses it there. */
  async function made(use: CsiUse, from: { size: number; source: object }): Promise<string> {
    await untilThere(() => createVolume(csi, use, from))
    using there = new CsiClient(use.node)
    return await bringUp(there, use) // before it is disposed of
  }

  async function totalOf(volumeId: string): Promise<number> {
    const { usage } = await csi.call<{ usage: { total: number }[] }>('NodeGetVolumeStats', { volumeId, volumePath: pathsOf(volumeId).target }) // prettier-ignore
    return usage[0]!.total
  }

  /** ext4 grows under use where the agent has the capability; else the call says so, and the next staging grows it. */
  async function growOnNode(volumeId: string, filesystem: string, capacityRange: object): Promise<void> {
    const { target: volumePath, staging } = pathsOf(volumeId)
    const answer = await refusal(csi.call('NodeExpandVolume', { volumeId, volumePath, capacityRange }))
    if (answer.code === 'OK') return
    expect(filesystem).toBe('ext4')
    expect(answer).toMatchObject({
      code: 'FAILED_PRECONDITION',
      why: expect.stringMatching(/CAP_SYS_RESOURCE.*when the volume is next staged/) as unknown,
    })
    await csi.call('NodeUnpublishVolume', { volumeId, targetPath: volumePath })
    await csi.call('NodeUnstageVolume', { volumeId, stagingTargetPath: staging })
    await bringUp(csi, { volume: volumeId, node: 'n1', filesystem: 'ext4' })
  }

  /** Calls made while an agent starts are made again, as orchestrators do. */
  async function untilThere<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await call()
      } catch (error) {
        if (attempt > 100) throw error
        await sleep(50)
      }
    }
  }
})

describe('a volume in use', () => {
  const use: CsiUse = { volume: 'v1', node: 'n1', filesystem: 'xfs' }

  it('is on one node only, and goes after its last use', async () => {
    await makeFolders(lab, 'n1', ['v1'])
    await createVolume(csi, use)
    await bringUp(csi, use)
    const volumeCapability = capability('xfs')
    expect(
      await refusal(csi.call('ControllerPublishVolume', { volumeId: 'v1', nodeId: 'n2', volumeCapability })),
    ).toEqual({
      code: 'FAILED_PRECONDITION',
      why: expect.stringContaining('is attached to node n1') as unknown,
    })
    expect((await refusal(csi.call('DeleteVolume', { volumeId: 'v1' }))).code).toBe('FAILED_PRECONDITION')
    const detached = refusal(csi.call('ControllerUnpublishVolume', { volumeId: 'v1', nodeId: 'n1' }, 1500))
    expect((await detached).code).toBe('DEADLINE_EXCEEDED')
    await expect
      .poll(async () => (await lab.store.get(VolumeAttachment, { name: 'v1' })).status, { timeout: 20_000 })
      .toMatchObject({ attached: true, message: expect.stringContaining('/run/csi/v1/target') as unknown })
    await remove('v1')
  })

  it('tells how much of it is used, and that it became read-only after an error', async () => {
    await makeFolders(lab, 'n1', ['v1'])
    await createVolume(csi, { ...use, filesystem: 'ext4' })
    const target = await bringUp(csi, { ...use, filesystem: 'ext4' })
    interface Stats {
      usage: { unit: string; total: number; used: number; available: number }[]
      volumeCondition: { abnormal: boolean; message: string }
    }
    const stats = (): Promise<Stats> => csi.call('NodeGetVolumeStats', { volumeId: 'v1', volumePath: target })
    const before = await stats()
    expect(before.usage.map(({ unit }) => unit)).toEqual(['BYTES', 'INODES'])
    expect(before.volumeCondition.abnormal).toBe(false)
    await on('n1', `head -c 3M /dev/urandom > ${target}/file; sync -f ${target}`)
    const after = await stats()
    expect(after.usage[0]!.used - before.usage[0]!.used).toBeGreaterThanOrEqual(3e6)
    await on('n1', `mount -o remount,abort,ro ${pathsOf('v1').staging} || mount -o remount,ro ${pathsOf('v1').staging}`)
    expect((await stats()).volumeCondition).toEqual({
      abnormal: true,
      message: expect.stringContaining('read-only') as unknown,
    })
    await remove('v1')
  })

  it('is published read-only, and to one target only when it may have one writer', async () => {
    const alone: CsiUse = { ...use, mode: 'SINGLE_NODE_SINGLE_WRITER', filesystem: 'ext4' }
    await makeFolders(lab, 'n1', ['v1'])
    await createVolume(csi, alone)
    const target = await bringUp(csi, alone)
    const again = {
      volumeId: 'v1',
      stagingTargetPath: pathsOf('v1').staging,
      targetPath: `${target}-2`,
      volumeCapability: capability('ext4', alone.mode),
    }
    expect(await refusal(csi.call('NodePublishVolume', again))).toEqual({
      code: 'FAILED_PRECONDITION',
      why: expect.stringContaining('one place only') as unknown,
    })
    await csi.call('NodeUnpublishVolume', { volumeId: 'v1', targetPath: target })
    await csi.call('NodePublishVolume', { ...again, readonly: true })
    await expect(on('n1', `touch ${target}-2/x`)).rejects.toThrow('Read-only file system')
    await csi.call('NodeUnpublishVolume', { volumeId: 'v1', targetPath: `${target}-2` })
    await remove('v1')
  })

  it('changes its tier; one that does not fit is refused and the old one stays', async () => {
    await createVolume(csi, use, { parameters: { perfTier: 'best-effort' } })
    const tier = async (): Promise<string | undefined> =>
      (await lab.store.get(Volume, { name: 'v1' })).status?.perfTierName
    await lab.dctl(['perf-tier', 'create', 'modest', '-i', '100']) // the drive of a busy machine has that, too
    await lab.dctl(['perf-tier', 'create', 'impossible', '-i', '100M'])
    const modify = (perfTier: string): Promise<unknown> =>
      csi.call('ControllerModifyVolume', { volumeId: 'v1', mutableParameters: { perfTier } })
    await modify('modest')
    expect(await tier()).toBe('modest')
    expect((await refusal(modify('impossible'))).code).toBe('RESOURCE_EXHAUSTED')
    expect((await refusal(modify('unheard-of'))).code).toBe('INVALID_ARGUMENT')
    expect(await tier()).toBe('modest')
    expect((await lab.store.get(Volume, { name: 'v1' })).spec.perfTierName).toBe('modest')
    await csi.call('DeleteVolume', { volumeId: 'v1' })
    await lab.dctl(['perf-tier', 'delete', 'impossible', 'modest', '-y'])
  })
})

describe('bad input loses nothing and is told', () => {
  const use: CsiUse = { volume: 'v1', node: 'n1', filesystem: 'ext4' }
  const create = (more: object): Promise<unknown> =>
    csi.call('CreateVolume', { name: 'bad', volumeCapabilities: [capability('ext4')], capacityRange: { requiredBytes: 16 * mebibyte }, ...more }) // prettier-ignore

  it('in requests for volumes and snapshots', async () => {
    const cases: [string, () => Promise<unknown>][] = [
      ['INVALID_ARGUMENT', () => create({ capacityRange: { requiredBytes: -1 } })],
      ['OUT_OF_RANGE', () => create({ capacityRange: { requiredBytes: 2 ** 60 } })],
      ['RESOURCE_EXHAUSTED', () => create({ capacityRange: { requiredBytes: 2 ** 40 } })],
      ['INVALID_ARGUMENT', () => create({ parameters: { perfTier: 'unheard-of' } })],
      ['INVALID_ARGUMENT', () => create({ parameters: { colour: 'blue' } })],
      ['NOT_FOUND', () => create({ volumeContentSource: { snapshot: { snapshotId: 'missing' } } })],
      ['NOT_FOUND', () => create({ volumeContentSource: { volume: { volumeId: '../../etc' } } })],
      ['RESOURCE_EXHAUSTED', () => create({ accessibilityRequirements: { requisite: [{ segments: { zone: 'x' } }] } })],
      ['NOT_FOUND', () => csi.call('CreateSnapshot', { sourceVolumeId: 'missing', name: 's' })],
      ['OK', () => csi.call('DeleteSnapshot', { snapshotId: 'missing' })],
      ['OK', () => csi.call('DeleteVolume', { volumeId: 'x'.repeat(5000) })],
      ['NOT_FOUND', () => csi.call('ControllerPublishVolume', { volumeId: 'missing', nodeId: 'n1', volumeCapability: capability('ext4') })],
    ] // prettier-ignore
    for (const [code, call] of cases) expect((await refusal(call())).code).toBe(code)
  })

  it('in changes of a volume with snapshots', async () => {
    await makeFolders(lab, 'n1', ['v1'])
    await createVolume(csi, use)
    await csi.call('CreateSnapshot', { sourceVolumeId: 'v1', name: 's1' })
    expect((await refusal(csi.call('DeleteVolume', { volumeId: 'v1' }))).why).toContain('snapshot: s1')
    await bringUp(csi, use)
    await expect(lab.dctl(['volume', 'restore', 'v1', '-s', 's1', '-y'])).rejects.toThrow('is attached to node n1')
    const expand = (range: object): Promise<{ code: string }> =>
      refusal(csi.call('ControllerExpandVolume', { volumeId: 'v1', capacityRange: range }))
    expect((await expand({ requiredBytes: 2 ** 40 })).code).toBe('OUT_OF_RANGE')
    expect((await expand({ requiredBytes: mebibyte, limitBytes: mebibyte })).code).toBe('OUT_OF_RANGE')
    expect((await lab.store.get(Volume, { name: 'v1' })).spec.size).toBe(16 * mebibyte)
    await csi.call('DeleteSnapshot', { snapshotId: 's1' })
    await remove('v1')
  })

  it('in paths', async () => {
    await makeFolders(lab, 'n1', ['v1'])
    await createVolume(csi, use)
    await bringUp(csi, use)
    await on('n1', 'cd /run/csi; echo precious > file; mkdir folder; touch folder/precious; ln -s /etc link; mkdir mounted; mount -t tmpfs none mounted') // prettier-ignore
    const publish = (targetPath: string): Promise<{ code: string; why: string }> =>
      refusal(csi.call('NodePublishVolume', { volumeId: 'v1', stagingTargetPath: pathsOf('v1').staging, targetPath, volumeCapability: capability('ext4') })) // prettier-ignore
    for (const path of ['file', 'folder', 'link', 'mounted', 'missing/target'].map((name) => `/run/csi/${name}`)) {
      expect(await publish(path), path).toMatchObject({ code: 'FAILED_PRECONDITION' })
      if (path.includes('missing')) continue
      const unpublished = await refusal(csi.call('NodeUnpublishVolume', { volumeId: 'v1', targetPath: path }))
      expect(unpublished, path).toMatchObject({ code: 'FAILED_PRECONDITION' })
    }
    for (const path of ['relative', '/run/csi/../x', '/', `/${'y'.repeat(4100)}`, '/run/csi//v1']) {
      expect((await publish(path)).code, path).toBe('INVALID_ARGUMENT')
    }
    expect(await publish(`${pathsOf('v1').target}/`)).toEqual({ code: 'OK', why: '' }) // there already
    expect(await on('n1', 'cd /run/csi; cat file; ls folder; readlink link; umount mounted; rm -r file folder link mounted')).toBe('precious\nprecious\n/etc') // prettier-ignore
    await remove('v1')
  })

  it('in secrets that must not be logged, and in bytes that are no message', async () => {
    const secret = 'a-secret-that-nobody-may-see'
    await refusal(create({ secrets: { key: secret }, parameters: { colour: 'blue' } }))
    await refusal(
      csi.call('NodeStageVolume', { volumeId: 'missing', stagingTargetPath: '/x', secrets: { key: secret } }),
    )
    const { calls, codes } = await fuzzCsi(csi, lab, 'n1', 400)
    expect(calls).toBe(400)
    expect(codes).not.toContain('UNKNOWN')
    expect(await on('n1', 'stat -c %a /run/carbonado/csi.sock')).toBe('600')
    expect(readFileSync(programLog('n1-agent'), 'utf8')).not.toContain(secret)
    expect(await csi.call('Probe', {})).toEqual({ ready: { value: true } })
  })
})

describe('a storm with killed programs', () => {
  it('loses no write, and leaks no device, mount, file or object', { timeout: 600_000 }, async () => {
    await csiStorm(lab, { workers: 4, rounds: 1 })
  })
})
