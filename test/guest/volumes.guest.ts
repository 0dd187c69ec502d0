import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, statfsSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import { growFilesystem } from '../../src/storage/agent/filesystem-growth.ts'
import { kernelPublishSystem, PublishJournal, VolumePublisher } from '../../src/storage/agent/publish/index.ts'
import { findDisk, readDiskStat } from '../../src/storage/io-limits/disk-stat.ts'
import { findCgroupIo, IopsGuarantee, ReleaseWatch, type GuardedVolume } from '../../src/storage/io-limits/index.ts'
import type { Pool } from '../../src/storage/pool-format.ts'
import { FilePoolFormat, LvmThinFormat } from '../../src/storage/pools/index.ts'
import { fioIn, LastingLoad } from '../support/paced-loops.ts'
import { lvmThinDrive } from './lvm-thin-drive.ts'

const mebibyte = 2 ** 20
const pods = '/sys/fs/cgroup/pods'
const run = (file: string, ...args: string[]): string => execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' })

let pool: Pool
/** Devices of the volumes, by name. */
const devices: Record<string, string> = {}

beforeAll(async () => {
  run('modprobe', '-a', 'loop', 'btrfs', 'ext4')
  const format = new FilePoolFormat()
  await format.format('/dev/nvme1n1', { id: crypto.randomUUID() })
  pool = await format.open('/dev/nvme1n1')
  for (const id of ['grown', 'gold', 'flood']) {
    await pool.create({ id, size: 64 * mebibyte, sectorSize: pool.sectorSize })
    devices[id] = (await pool.activate(id, { readOnly: false })).devicePath
  }
})

describe('ext4', () => {
  it('grows with its volume while it is mounted', async () => {
    const device = devices.grown!
    mkdirSync('/run/grown')
    run('mkfs.ext4', '-q', '-b', '4096', device)
    run('mount', device, '/run/grown')
    writeFileSync('/run/grown/file', 'x'.repeat(mebibyte))
    await pool.resize('grown', 192 * mebibyte)
    await growFilesystem(device)
    const { blocks, bsize } = statfsSync('/run/grown')
    expect(blocks * bsize).toBeGreaterThan(160 * mebibyte)
    expect(readFileSync('/run/grown/file', 'utf8')).toHaveLength(mebibyte)
    run('umount', '/run/grown')
    run('e2fsck', '-fn', device)
  })
})

describe('a thin volume, whose device is no link to that of the kernel', () => {
  const volumeName = 'thin'
  const folder = mkdtempSync('/run/published-')
  const stagingPath = `${folder}/staging`
  let thinPool: Pool
  let publisher: VolumePublisher

  beforeAll(async () => {
    const drive = lvmThinDrive({ name: 'thin-drive', start: 2 })
    const format = new LvmThinFormat()
    expect(await format.unsupportedReason()).toBeUndefined()
    await format.format(drive, { id: crypto.randomUUID() })
    thinPool = await format.open(drive)
    await thinPool.create({ id: volumeName, size: 64 * mebibyte, sectorSize: thinPool.sectorSize })
    devices.thin = (await thinPool.activate(volumeName, { readOnly: false })).devicePath
    publisher = new VolumePublisher({
      journal: new PublishJournal(`${folder}/journal`, 'boot', silentLogger()),
      system: kernelPublishSystem,
      deviceOf: () => devices.thin,
      onChange: () => {},
      logger: silentLogger(),
    })
  })

  it('is staged, grows and tells how much of it is used', async () => {
    const device = devices.thin!
    const volume = { volumeName, volumeUid: 'uid', device, readOnly: false, stagingPath, mountFlags: [] }
    await publisher.stage({ ...volume, access: 'mount', filesystem: 'ext4' })
    await thinPool.resize(volumeName, 128 * mebibyte)
    expect(await publisher.expand(volumeName)).toBe(128 * mebibyte)
    expect((await publisher.use(volumeName, stagingPath)).bytes.total).toBeGreaterThan(100 * mebibyte)
    await publisher.unstage(volumeName, stagingPath)
  })

  it('is found by who counts and limits what it does', () => {
    const disk = findDisk(devices.thin!)
    expect(disk?.number).toBe(kernelPublishSystem.deviceNumber(devices.thin!))
    expect(readDiskStat(disk!.statFile)!.bytes).toBeGreaterThan(mebibyte)
  })
})

describe('limits of cgroups of version 2', () => {
  const io = findCgroupIo()!
  const direct = ['--direct=1', '--iodepth=32', '--rw=randwrite']

  beforeAll(() => {
    expect(io.version).toBe(2)
    for (const folder of ['/sys/fs/cgroup', pods]) {
      mkdirSync(folder, { recursive: true })
      writeFileSync(`${folder}/cgroup.subtree_control`, '+io')
    }
    for (const pod of ['capped', 'gold', 'flood']) mkdirSync(`${pods}/pod-${pod}/container/inner`, { recursive: true })
  })

  const limitedOf = (name: string): string[] => {
    const folders = ['capped', 'gold', 'flood'].map((pod) => `${pods}/pod-${pod}`)
    return io.limited(findDisk(devices[name]!)!.number, [...folders, ...folders.map((pod) => `${pod}/container`)])
  }

  const guarded = (name: string, more: Partial<GuardedVolume>): GuardedVolume => {
    return { id: name, name, driveName: 'drive', devicePath: devices[name]!, floor: 0, consumers: [], ...more }
  }

  /** Runs work while floors and caps are kept on a drive that is said to give so many operations. */
  async function guarding(iops: number, volumes: GuardedVolume[], work: () => Promise<void>): Promise<void> {
    const logger = silentLogger()
    const release = new ReleaseWatch(mkdtempSync('/run/limits-'), logger)
    const ability = (): { iops: number; bandwidth: number; latency: number } => ({ iops, bandwidth: 1e9, latency: 1e-3 })
    const guarantee = new IopsGuarantee({ volumes: () => volumes, ability, io, release, onWindows: () => {}, logger })
    guarantee.start()
    await work().finally(() => guarantee.stop())
  } // prettier-ignore

  async function until(what: string, holds: () => boolean): Promise<void> {
    for (const end = Date.now() + 30_000; !holds(); await sleep(20)) {
      if (Date.now() > end) throw new Error(`in vain for ${what}`)
    }
  }

  it('bind a container below the cgroup of its pod, direct and buffered', async () => {
    const inner = `${pods}/pod-capped/container/inner`
    const buffered = ['--iodepth=1', '--fsync=16', '--rw=randwrite']
    let free = 0
    for (let attempt = 0; free <= 50 * 1.5 && attempt < 10; attempt += 1) {
      free = (await fioIn(inner, devices.gold!, direct, 1)).write
    }
    expect(free).toBeGreaterThan(50 * 1.5)
    await guarding(100_000, [guarded('gold', { cap: 50, consumers: ['pod-capped'] })], async () => {
      await until('the limit', () => limitedOf('gold').length > 0)
      expect(limitedOf('gold')).toEqual([`${pods}/pod-capped`])
      const rates = [await fioIn(inner, devices.gold!, direct, 2), await fioIn(inner, devices.gold!, buffered, 2)]
      for (const { write } of rates) expect(write).toBeLessThan(50 * 1.5)
    })
  })

  it('bind who uses a thin volume', async () => {
    await guarding(100_000, [guarded('thin', { cap: 50, consumers: ['pod-capped'] })], async () => {
      await until('the limit', () => limitedOf('thin').length > 0)
      const { write } = await fioIn(`${pods}/pod-capped/container/inner`, devices.thin!, direct, 2)
      expect(write).toBeLessThan(50 * 1.5)
    })
  })

  it('hold a neighbour back while a floor is missed, and nobody afterwards', async () => {
    const volumes = [guarded('gold', { floor: 300 }), guarded('flood', {})]
    const load = (name: string): LastingLoad =>
      new LastingLoad(`${pods}/pod-${name}/container/inner`, devices[name]!, direct)
    const operations = (): number => readDiskStat(findDisk(devices.flood!)!.statFile)!.operations
    /** Operations per second of the neighbour. */
    const rate = async (): Promise<number> => {
      const [before, since] = [operations(), performance.now()]
      await sleep(2000)
      return (operations() - before) / ((performance.now() - since) / 1000)
    }
    await guarding(400, volumes, async () => {
      const before = operations()
      await using _flood = load('flood')
      await until('the neighbour to write', () => operations() > before)
      const free = await rate()
      expect(limitedOf('flood')).toEqual([])
      await using gold = load('gold')
      await until('the neighbour to be held back', () => limitedOf('flood').length > 0)
      expect(limitedOf('flood')).toEqual([`${pods}/pod-flood`])
      expect(await rate(), 'held back, in operations per second').toBeLessThan(free / 4)
      expect(limitedOf('gold')).toEqual([])
      await gold[Symbol.asyncDispose]()
      await until('limits to go', () => limitedOf('flood').length === 0)
    })
  })
})
