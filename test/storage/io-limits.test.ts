import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { exec, silentLogger } from '../../src/base/index.ts'
import {
  findCgroupIo,
  IopsGuarantee,
  ReleaseWatch,
  removeStaleLimits,
  type GuardedVolume,
} from '../../src/storage/io-limits/index.ts'
import type { IoLimit } from '../../src/storage/io-limits/cgroup-io.ts'
import { copyBlock, encodeBlocks } from '../../src/storage/agent/copy-stream.ts'
import { DriveCopies } from '../../src/storage/agent/drive-copies.ts'
import { findDisk, readDiskStat } from '../../src/storage/io-limits/disk-stat.ts'
import { foldersBelow } from '../../src/storage/io-limits/cgroup-tree.ts'
import { fioIn, LastingLoad, PacedLoops } from '../support/paced-loops.ts'
import { severalAttempts } from '../support/patience.ts'

const io = findCgroupIo()!
const driveIops = 3000
const ability = { iops: driveIops, bandwidth: driveIops * 65_536, latency: 2e-4 }
const direct = ['--direct=1', '--iodepth=32']

let folder: string
let pods: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-limits-'))
  pods = mkdtempSync(join(io.root, 'carbonado-limits-'))
})
afterEach(() => {
  for (const cgroup of foldersBelow(pods).reverse()) rmdirSync(cgroup)
  rmSync(folder, { recursive: true })
})

const volume = (devicePath: string, more: Partial<GuardedVolume> = {}): GuardedVolume => {
  return { id: devicePath, name: devicePath, driveName: 'drive', devicePath, floor: 0, consumers: [], ...more }
}

/** Runs work while floors and caps of these volumes are kept. */
async function guarding<T>(
  volumes: GuardedVolume[] | (() => GuardedVolume[]),
  work: (guarantee: IopsGuarantee) => Promise<T>,
): Promise<T> {
  const logger = silentLogger()
  const release = new ReleaseWatch(folder, logger)
  const list = typeof volumes === 'function' ? volumes : (): GuardedVolume[] => volumes
  const parts = { volumes: list, ability: () => ability, io, release, onWindows: () => {}, logger }
  const guarantee = new IopsGuarantee(parts)
  guarantee.start()
  try {
    return await work(guarantee)
  } finally {
    guarantee.stop()
  }
}

/** Those of the root and the cgroups of a test, unless told, that have a limit for a device. */
const limitedCgroups = (device: string, folders = [io.root, ...foldersBelow(pods)]): string[] =>
  io.limited(findDisk(device)!.number, folders).map((each) => each.slice(io.root.length))

/** Bytes that devices have moved. */
const moved = (devices: string[]): number[] => devices.map((device) => readDiskStat(findDisk(device)!.statFile)!.bytes)

/** Keeps devices busy, each from a cgroup of its own, until what is returned is disposed of. */
function loading(kind: string, devices: Record<string, string>): AsyncDisposableStack {
  const loads = new AsyncDisposableStack()
  for (const [cgroup, device] of Object.entries(devices)) {
    loads.use(new LastingLoad(join(pods, cgroup), device, [`--rw=${kind}`, ...direct]))
  }
  return loads
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 40_000; !holds(); await sleep(20)) {
    if (performance.now() > end) throw new Error(`in vain for ${what}`)
  }
}

describe('a cap', () => {
  test('binds a nested cgroup that comes later, several of them together, direct and buffered', async () => {
    await using loops = await PacedLoops.make(1, driveIops)
    const [device] = loops.devices as [string]
    await guarding([volume(device, { cap: 400, consumers: ['pod-a'] })], async () => {
      await sleep(100)
      let attempt = 0 // each in cgroups that were not there before
      const [nested, both]: [number[], number[]] = [[], []]
      const settled = '--ramp_time=1' // without what is let through before the first look
      const ofOne = async (): Promise<number> => {
        const { write } = await fioIn(
          join(pods, `pod-a/${attempt++}/inner`),
          device,
          ['--rw=randwrite', ...direct, settled],
          2,
        )
        nested.push(write)
        return write
      }
      await expect.poll(ofOne, severalAttempts).toBeGreaterThan(400 * 0.6)
      expect(Math.max(...nested)).toBeLessThan(400 * 1.2)
      const ofBoth = async (): Promise<number> => {
        const rates = await Promise.all([
          fioIn(join(pods, `pod-a/${attempt++}`), device, ['--rw=randrw', ...direct, settled], 3),
          fioIn(join(pods, `pod-a/${attempt++}`), device, ['--rw=randrw', '--iodepth=1', '--fsync=16', settled], 3),
        ])
        both.push(rates.reduce((all, { read, write }) => all + read + write, 0))
        return both.at(-1)!
      }
      await expect.poll(ofBoth, severalAttempts).toBeGreaterThan(400 * 0.5)
      expect(Math.max(...both)).toBeLessThan(400 * 1.2)
    })
  }, 150_000)
})

describe('a floor', () => {
  test('is kept against a flood, the drive stays busy, and nobody is held back afterwards', async () => {
    await using loops = await PacedLoops.make(8, driveIops)
    const [gold, ...others] = loops.devices as [string, ...string[]]
    const volumes = [volume(gold, { floor: 1500 }), ...others.map((device) => volume(device))]
    await guarding(volumes, async (guarantee) => {
      await using loads = loading(
        'randrw',
        Object.fromEntries(others.map((device, index) => [`pod-${index}/c`, device])),
      )
      await sleep(500)
      loads.use(loading('randrw', { gold }))
      await until('neighbours to be held back', () => others.some((device) => limitedCgroups(device).length > 0))
      /** Operations per second of gold and of all others. */
      const rates = async (): Promise<{ ofGold: number; ofOthers: number }> => {
        const [before, since] = [moved(loops.devices), performance.now()]
        await sleep(1500)
        const seconds = (performance.now() - since) / 1000
        const [ofGold, ...rest] = moved(loops.devices).map((bytes, index) => (bytes - before[index]!) / 4096 / seconds)
        return { ofGold: ofGold!, ofOthers: rest.reduce((sum, rate) => sum + rate) }
      }
      const share = (): Promise<number> => rates().then(({ ofGold, ofOthers }) => ofGold / ofOthers)
      await expect.poll(share, severalAttempts).toBeGreaterThan(0.6) // without a floor: a seventh
      /** What others do, for what the drive would leave them at that time; it gives less than its speed when processors are scarce. */
      const shareOfRest = async (): Promise<number> => {
        const free = await guarantee.withoutLimits(others, rates)
        await sleep(500) // until the floor is kept again
        return (await rates()).ofOthers / (free.ofGold + free.ofOthers - 1500)
      }
      await expect.poll(shareOfRest, severalAttempts).toBeGreaterThan(1 / 3)
      await expect.poll(() => guarantee.windowsOf(gold).withDemand, severalAttempts).toBeGreaterThanOrEqual(2)
      await expect.poll(() => guarantee.windowsOf(gold).attained, severalAttempts).toBeGreaterThan(0)
      await loads.disposeAsync()
      await until('limits to go', () => others.every((device) => limitedCgroups(device).length === 0))
    })
  }, 300_000)
})

test('copies of snapshots hold themselves back for a floor, and go on as they like afterwards', async () => {
  await using loops = await PacedLoops.make(5, driveIops)
  const [gold, ...sources] = loops.devices as [string, ...string[]]
  let allowance: IopsGuarantee['allowance'] = () => undefined
  const copies = new DriveCopies((id) => allowance(id))
  const volumes = (): GuardedVolume[] => [volume(gold, { floor: 1500 }), ...copies.volumes()]
  await guarding(volumes, async (guarantee) => {
    allowance = (id) => guarantee.allowance(id)
    let isOver = false
    const copying = sources.map(async (devicePath) => {
      const pace = copies.begin({ id: devicePath, driveName: 'drive', devicePath })
      while (!isOver) for await (const _ of encodeBlocks(devicePath, 0, 64 * copyBlock, pace));
      copies.end(devicePath)
    })
    try {
      await using load = loading('randrw', { gold })
      await until('copies to be held back', () => sources.some((id) => allowance(id) !== undefined))
      const ofAllowed: number[] = []
      /** How much of what the drive moves at once is of gold, for one that is of a copy. */
      const ofGoldForEachCopied = async (): Promise<number> => {
        const before = moved(loops.devices)
        let allowed = 2 * sources.length * copyBlock // a block each is on its way, and another when the limit sinks
        for (let since = performance.now(), end = since + 2000, at = since; at < end; since = at) {
          await sleep(20)
          at = performance.now()
          // the least that a copy has is a block in half a second
          const rates = sources.map((id) => Math.max(2 * copyBlock, allowance(id) ?? Infinity))
          allowed += (rates.reduce((sum, rate) => sum + rate) * (at - since)) / 1000
        }
        const [ofGold, ...ofCopies] = moved(loops.devices).map((bytes, index) => bytes - before[index]!)
        const copied = ofCopies.reduce((sum, bytes) => sum + bytes)
        ofAllowed.push(copied / allowed)
        return ofGold! / 4096 / (copied / 65_536)
      }
      await expect.poll(ofGoldForEachCopied, severalAttempts).toBeGreaterThan(0.6) // half of it is promised
      expect(Math.max(...ofAllowed)).toBeLessThan(1.5)
      const everyCgroup = foldersBelow(io.root) // also that of this process, which copies
      expect(sources.flatMap((device) => limitedCgroups(device, everyCgroup))).toEqual([])
      await load.disposeAsync()
      await until('copies to go on as they like', () => sources.every((id) => allowance(id) === undefined))
    } finally {
      isOver = true
      await Promise.all(copying)
    }
  })
})

test('a device that the kernel was told not to count is counted', async () => {
  await using loops = await PacedLoops.make(1, driveIops)
  const [device] = loops.devices as [string]
  writeFileSync(findDisk(device)!.countingFile, '0')
  await guarding([volume(device)], async (guarantee) => {
    await using _load = loading('randwrite', { a: device })
    await until('operations to be seen', () => (guarantee.rates(device)?.operations ?? 0) > 0)
  })
})

describe('kill -9 of the agent', () => {
  const guardingProcess = async (grace: number, volumes: GuardedVolume[]): Promise<ChildProcess> => {
    const file = new URL('./guarded-process.ts', import.meta.url).pathname
    const words = [file, folder, String(grace), JSON.stringify(volumes), String(driveIops)]
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => child.stdout!.once('data', resolve))
    return child
  }

  test('leaves neighbours held back for the grace only, and keeps caps', async () => {
    await using loops = await PacedLoops.make(3, driveIops)
    const [gold, flood, capped] = loops.devices as [string, string, string]
    const volumes = [volume(gold, { floor: 1500 }), volume(flood), volume(capped, { cap: 300 })]
    const agent = await guardingProcess(0.5, volumes)
    await using loads = loading('randwrite', { gold, flood })
    await until('a neighbour to be held back', () => limitedCgroups(flood).length > 0)
    agent.kill('SIGKILL')
    await until('limits to go', () => limitedCgroups(flood).length === 0)
    expect(limitedCgroups(capped)).not.toEqual([])
    await loads.disposeAsync()
    await guarding([volume(capped)], () => until('the cap to go', () => limitedCgroups(capped).length === 0))
  })

  test('the next agent takes over what it left, and the earlier watch leaves that alone', async () => {
    await using loops = await PacedLoops.make(2, driveIops)
    const [gold, flood] = loops.devices as [string, string]
    const volumes = [volume(gold, { floor: 1500 }), volume(flood)]
    const agent = await guardingProcess(1, volumes)
    await using _loads = loading('randwrite', { gold, flood })
    await until('a neighbour to be held back', () => limitedCgroups(flood).length > 0)
    agent.kill('SIGKILL')
    await guarding(volumes, async (guarantee) => {
      await sleep(1500) // longer than the grace
      expect(limitedCgroups(flood)).not.toEqual([])
      await expect.poll(() => guarantee.windowsOf(gold).withDemand, severalAttempts).toBeGreaterThan(0)
    })
    expect(limitedCgroups(flood)).toEqual([])
  })
})

test('a loop device that has lost its file keeps no limit for whoever gets it next; one in use does', async () => {
  let left = await limitsLeft()
  while (left === undefined) left = await limitsLeft()
  expect(left).toEqual({ lost: [], used: [io.root, pods], afterwards: [] })
})

interface LimitsLeft {
  lost: string[]
  used: string[]
  afterwards: string[]
}

/**
 * Cgroups with a limit, which would harm nobody, for a loop device that has lost its file and for one in use, and for that
 * one when it is not used any more. Undefined when somebody else on this machine has got one of the devices meanwhile.
 */
async function limitsLeft(): Promise<LimitsLeft | undefined> {
  const cgroups = [io.root, pods]
  const limited = (device: string): string[] => io.limited(device, cgroups)
  const limit = (device: string, harmless?: IoLimit): void =>
    cgroups.forEach((cgroup) => io.limit(cgroup, device, 'write', harmless))
  let numbers: string[] = []
  try {
    let left: Omit<LimitsLeft, 'afterwards'>
    {
      await using loops = await PacedLoops.make(2, driveIops)
      numbers = loops.devices.map((device) => findDisk(device)!.number)
      const [lost, used] = numbers as [string, string]
      for (const device of numbers) limit(device, { operations: 1e6, bytes: 1e12 })
      const own = fileOf(lost)
      await exec(['losetup', '--detach', loops.devices.shift()!])
      await until('the device to lose its file', () => fileOf(lost) !== own)
      removeStaleLimits(io)
      left = { lost: limited(lost), used: limited(used) }
    }
    const afterwards = limited(numbers[1]!)
    return numbers.some((device) => fileOf(device) !== undefined) ? undefined : { ...left, afterwards }
  } finally {
    for (const device of numbers) limit(device)
  }
}

/** What a loop device stands for. */
function fileOf(number: string): string | undefined {
  try {
    return readFileSync(`/sys/dev/block/${number}/loop/backing_file`, 'utf8')
  } catch {
    return undefined
  }
}
