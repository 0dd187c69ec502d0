import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import { freeze } from '../../src/storage/agent/quiesce/freeze-watchdog.ts'
import { mountsOfDevice } from '../../src/storage/agent/quiesce/mounts-of-device.ts'
import { Quiescer, type QuiescerOptions } from '../../src/storage/agent/quiesce/quiescer.ts'
import { findDisk } from '../../src/storage/io-limits/disk-stat.ts'
import { findCgroupIo } from '../../src/storage/io-limits/index.ts'
import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import type { Pool } from '../../src/storage/pool-format.ts'
import { enterOwnNamespaces, run, succeeds } from '../support/own-namespaces.ts'
import { makePoolDrive } from '../support/pool-drive.ts'

enterOwnNamespaces()
const drive = makePoolDrive()
const format = new FilePoolFormat()
const journal = '/run/quiesce'
let pool: Pool
const devices: Record<string, string> = {}

/** Volumes with a filesystem, mounted. */
beforeAll(async () => {
  await format.format(drive.device, { id: crypto.randomUUID() })
  pool = await format.open(drive.device)
  for (const name of ['a', 'b']) {
    await pool.create({ id: name, size: 64 * 2 ** 20, sectorSize: 512 })
    devices[name] = (await pool.activate(name, { readOnly: false })).devicePath
    run('mkfs.ext4', '-q', devices[name])
    mkdirSync(folderOf(name))
    run('mount', devices[name], folderOf(name))
  }
})
afterAll(async () => {
  for (const name of ['a', 'b']) run('umount', folderOf(name))
  for (const { id } of await pool.list()) {
    await pool.deactivate(id)
    await pool.delete(id)
  }
  await pool.close()
  drive.remove()
})
afterEach(() => {
  for (const name of ['a', 'b']) {
    const isFrozen = succeeds('fsfreeze', '--unfreeze', folderOf(name))
    expect(isFrozen, `${name} was left frozen`).toBe(false)
  }
})

function folderOf(name: string): string {
  return `/run/mounted-${name}`
}

/** How long a small write takes, in milliseconds. */
async function writeTime(name: string): Promise<number> {
  const begin = performance.now()
  const writer = spawn('dd', ['if=/dev/zero', `of=${folderOf(name)}/touched`, 'bs=4k', 'count=1', 'conv=fsync', 'status=none'])
  await once(writer, 'close')
  return performance.now() - begin
} // prettier-ignore

async function frozenFolder<T>(name: string, work: (descriptor: number) => Promise<T>): Promise<T> {
  const descriptor = openSync(folderOf(name), 'r')
  try {
    return await work(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Whether the snapshot needs the journal of its filesystem, as after a power cut. */
async function needsRecovery(snapshot: string): Promise<boolean> {
  const { devicePath } = await pool.activate(snapshot, { readOnly: true })
  const isNeeded = run('dumpe2fs', '-h', devicePath).includes('needs_recovery')
  await pool.deactivate(snapshot)
  return isNeeded
}

/** A quiescer whose limits are beyond what a busy machine needs, unless they are told. */
function quiescer(options: Partial<QuiescerOptions> = {}): Quiescer {
  return new Quiescer({
    logger: silentLogger(),
    folder: journal,
    syncDeadline: 60_000,
    freezeLimit: 30_000,
    ...options,
  })
}

/** Leaves some 2000 places of volume a dirty behind a cap of so many writes per second, which the work can change. */
async function withDirtyPages(iops: number, work: (cap: (iops?: number) => void) => Promise<void>): Promise<void> {
  const io = findCgroupIo()!
  const folder = `${io.root}/carbonado-quiesce-${process.pid}`
  mkdirSync(folder)
  const number = findDisk(devices.a!)!.number
  // Pages that are written back count as the root's in version 1, as the writer's in version 2.
  const held = [folder, ...(io.version === 1 ? [io.root] : [])]
  const cap = (operations?: number): void => {
    held.forEach((each) => io.limit(each, number, 'write', operations === undefined ? undefined : { operations, bytes: 2 ** 40 }))
  }
  cap(iops)
  try {
    const pages = ['--rw=randwrite', '--bs=4k', '--size=40M', '--io_size=10M', '--fallocate=none', '--end_fsync=0', '--norandommap']
    run('sh', '-ec', `echo $$ > ${folder}/cgroup.procs; exec fio --name=dirty --directory=${folderOf('a')} ${pages.join(' ')}`)
    await work(cap)
  } finally {
    cap()
    run('sync', '--file-system', folderOf('a'))
    rmSync(`${folderOf('a')}/dirty.0.0`)
    rmdirSync(folder)
  }
} // prettier-ignore

describe('the watchdog', () => {
  it('holds writers until it is told to let them go', async () => {
    const frozen = await frozenFolder('a', (descriptor) => freeze([descriptor], 20_000))
    const writing = writeTime('a')
    await sleep(500)
    expect(await frozen.thaw()).toBe(true)
    expect(await writing).toBeGreaterThan(450)
  })

  it('thaws at its limit, and says so', async () => {
    const frozen = await frozenFolder('a', (descriptor) => freeze([descriptor], 10_000))
    await writeTime('a')
    expect(await frozen.thaw()).toBe(false)
  })

  it('thaws when who asked for it is killed', async () => {
    for (let kill = 0; kill < 3; kill++) {
      const holder = spawn(process.execPath, [`${import.meta.dirname}/quiesce-holder.ts`, folderOf('a')])
      await once(holder.stdout, 'data')
      const writing = writeTime('a')
      await sleep(100)
      holder.kill('SIGKILL')
      expect(await writing).toBeLessThan(10_000)
    }
  })

  it('freezes all or none, and leaves alone what somebody else has frozen', async () => {
    run('fsfreeze', '--freeze', folderOf('b'))
    const [a, b] = [openSync(folderOf('a'), 'r'), openSync(folderOf('b'), 'r')]
    await expect(freeze([a, b], 20_000)).rejects.toMatchObject({ code: 'Unavailable', message: expect.stringContaining('busy') })
    await writeTime('a')
    run('fsfreeze', '--unfreeze', folderOf('b')) // fails when it was not frozen any more
    ;[a, b].forEach((descriptor) => closeSync(descriptor))
  }) // prettier-ignore
})

describe('a snapshot of a filesystem that stands still', () => {
  const take = (id: string, volumeId: string) => (): Promise<void> => pool.snapshot([{ id, volumeId }])

  it('has everything that was written, and nothing to recover', async () => {
    writeFileSync(`${folderOf('a')}/not-flushed`, 'x'.repeat(100_000))
    await pool.snapshot([{ id: 'crash', volumeId: 'a' }])
    expect(await needsRecovery('crash')).toBe(true)
    const caps: string[][] = []
    const one = quiescer({ withoutCaps: (uids, work) => (caps.push(uids), work()) })
    await one.run(pool, [{ id: 'clean', volumeId: 'a' }], take('clean', 'a'))
    expect(caps).toEqual([['a']])
    expect(await needsRecovery('clean')).toBe(false)
    const { devicePath } = await pool.activate('clean', { readOnly: true })
    run('e2fsck', '-fn', devicePath)
    mkdirSync('/run/look')
    run('mount', '-o', 'ro', devicePath, '/run/look')
    expect(readFileSync('/run/look/not-flushed', 'utf8')).toHaveLength(100_000)
    run('umount', '/run/look')
    await pool.deactivate('clean')
  })

  it('is had for several volumes at one instant, also where only another namespace has them mounted', async () => {
    const holder = spawn('unshare', ['--mount', 'sh', '-c', `mount --make-rprivate /; umount ${folderOf('b')}; echo; read x`], { stdio: 'pipe' })
    await once(holder.stdout, 'data')
    const inContainer = spawn('unshare', ['--mount', 'sh', '-c', `echo; read x`], { stdio: 'pipe' })
    await once(inContainer.stdout, 'data')
    run('umount', folderOf('b'))
    expect(mountsOfDevice(devices.b!)).toMatchObject([{ path: `/proc/${inContainer.pid}/root${folderOf('b')}`, isWritable: true }])
    const members = [{ id: 'g-a', volumeId: 'a' }, { id: 'g-b', volumeId: 'b' }]
    await quiescer().run(pool, members, () => pool.snapshot(members))
    expect([await needsRecovery('g-a'), await needsRecovery('g-b')]).toEqual([false, false])
    inContainer.kill()
    holder.kill()
    await Promise.all([once(inContainer, 'close'), once(holder, 'close')])
    run('mount', devices.b!, folderOf('b'))
  }) // prettier-ignore

  it('fails before anything is frozen when writing out takes too long', async () => {
    await withDirtyPages(20, async () => {
      const never = (): Promise<void> => Promise.reject(new Error('was taken'))
      const late = quiescer({ syncDeadline: 1000 }).run(pool, [{ id: 'x', volumeId: 'a' }], never)
      await expect(late).rejects.toMatchObject({ code: 'Unavailable', message: expect.stringContaining('nothing was frozen') })
    })
  }) // prettier-ignore

  it('waits neither frozen nor long for what is dirty behind a cap', { timeout: 240_000 }, async () => {
    const iops = 20 // behind the cap it takes 100 s; without it a disk that others keep busy is in time
    await withDirtyPages(iops, async (cap) => {
      const lifted = async <T>(_: string[], work: () => Promise<T>): Promise<T> => {
        cap()
        return work().finally(() => cap(iops))
      }
      const one = quiescer({ withoutCaps: lifted })
      await one.run(pool, [{ id: 'capped', volumeId: 'a' }], take('capped', 'a'))
      expect(await needsRecovery('capped')).toBe(false)
    })
  })

  it('fails, and is gone, when it took longer than the freeze may last', async () => {
    const slow = quiescer({ freezeLimit: 10_000 }).run(pool, [{ id: 'slow', volumeId: 'a' }], async () => {
      await pool.snapshot([{ id: 'slow', volumeId: 'a' }])
      await writeTime('a') // comes to its end when the filesystem goes on
    })
    await expect(slow).rejects.toMatchObject({ code: 'Unavailable', message: expect.stringContaining('may be frozen') })
    expect((await pool.list()).map(({ id }) => id)).not.toContain('slow')
    expect(readdirSync(journal)).toEqual([])
  })

  it('of a volume that is not mounted needs no freeze', async () => {
    await pool.clone({ id: 'idle', size: 64 * 2 ** 20, sourceId: 'a' })
    await quiescer().run(pool, [{ id: 'i', volumeId: 'idle' }], take('i', 'idle'))
    expect((await pool.list()).map(({ id }) => id)).toContain('i')
  })

  it('that was cut off together with its watchdog is thawed by the next start, and not taken for a good one', async () => {
    mkdirSync(journal, { recursive: true })
    writeFileSync(`${journal}/cut`, JSON.stringify({ snapshots: ['cut'], devices: [devices.a] }))
    writeFileSync(`${journal}/half`, '{"snapsh')
    run('fsfreeze', '--freeze', folderOf('a'))
    const next = quiescer()
    await next.recover()
    await writeTime('a')
    await pool.snapshot([{ id: 'cut', volumeId: 'a' }])
    await next.discardLeft(['of-others'], pool)
    expect(existsSync(`${journal}/cut`)).toBe(true)
    await next.discardLeft(['cut'], pool)
    expect((await pool.list()).map(({ id }) => id)).not.toContain('cut')
    expect(readdirSync(journal)).toEqual([])
  })
})
