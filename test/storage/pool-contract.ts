import { execFile, execFileSync } from 'node:child_process'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Pool, PoolFormat } from '../../src/storage/pool-format.ts'
import { readText, writeText } from './block-content.ts'
import { killedStorm } from './killed-storm.ts'

/** What a format needs for the contract. */
export interface PoolContract {
  format: PoolFormat
  /** An empty drive of at least 1.25 GiB. */
  device: () => string
  /** Parts of the contract; all of them unless told. */
  parts?: ContractPart[]
  /** Starts a storm, with the device appended; how often it is killed, and after how many milliseconds at most. */
  storm: { command: [string, ...string[]]; kills: number; longest: number }
  /** Seconds of checked writes at depth 32. */
  seconds: number
}

const everyPart = ['entries', 'devices', 'space', 'load', 'crashes', 'full'] as const
export type ContractPart = (typeof everyPart)[number]

const mebibyte = 2 ** 20
const run = promisify(execFile)
const error = (code: string) => expect.objectContaining({ code }) as unknown

/** What every pool format keeps. `describe` it after preparing the drive. */
export function poolContract({ format, device, parts, storm, seconds }: PoolContract): void {
  const part = (name: ContractPart, title: string, register: () => void): void => {
    if ((parts ?? everyPart).includes(name)) describe(title, register)
  }
  const id = crypto.randomUUID()
  let pool: Pool
  const create = (name: string, size = 64 * mebibyte): Promise<void> =>
    pool.create({ id: name, size, sectorSize: 4096 })
  const writable = async (name: string): Promise<string> => (await pool.activate(name, { readOnly: false })).devicePath
  const content = async (name: string): Promise<string> => {
    const { devicePath } = await pool.activate(name, { readOnly: true })
    const text = await readText(devicePath)
    await pool.deactivate(name)
    return text
  }
  const write = async (name: string, text: string): Promise<void> => {
    await writeText(await writable(name), text)
    await pool.deactivate(name)
  }
  const names = async (): Promise<string[]> => (await pool.list()).map((entry) => entry.id).sort()
  const empty = async (): Promise<void> => {
    for (const each of await pool.active()) await pool.deactivate(each.id)
    for (const name of await names()) await pool.delete(name)
  }

  /** Bytes in use when what was deleted before is gone. */
  const settledUse = async (): Promise<number> => {
    let last = -1
    await waitUntil(async () => last === (last = (await pool.space()).used), 500)
    return last
  }

  beforeAll(async () => {
    expect(await format.unsupportedReason()).toBeUndefined()
    expect(await format.probe(device())).toBeUndefined()
    await expect(format.open(device())).rejects.toEqual(error('NotFound'))
    await format.format(device(), { id })
    pool = await format.open(device())
  })
  afterAll(async () => {
    await empty()
    await pool.close()
  })

  describe('a formatted drive', () => {
    it('has an empty pool with the id it was given', async () => {
      expect(await format.probe(device())).toBe(id)
      expect(pool).toMatchObject({ id, format: format.name })
      expect(await pool.list()).toEqual([])
      const { capacity, used } = await pool.space()
      expect(capacity).toBeGreaterThan(2 ** 30)
      expect(used).toBeLessThan(0.1 * capacity)
    })
  })

  part('entries', 'volumes, snapshots and clones', () => {
    it('keep their content, each its own', async () => {
      await create('v1')
      await write('v1', 'first')
      await pool.snapshot([{ id: 's1', volumeId: 'v1' }])
      await write('v1', 'second')
      await pool.clone({ id: 'c1', size: 96 * mebibyte, sourceId: 's1' })
      await pool.clone({ id: 'c2', size: 64 * mebibyte, sourceId: 'v1' })
      expect(await Promise.all(['v1', 's1', 'c1', 'c2'].map(content))).toEqual(['second', 'first', 'first', 'second'])
      const list = (await pool.list()).sort((one, other) => one.id.localeCompare(other.id))
      expect(list).toEqual([
        { id: 'c1', kind: 'volume', size: 96 * mebibyte, sourceId: 's1' },
        { id: 'c2', kind: 'volume', size: 64 * mebibyte, sourceId: 'v1' },
        { id: 's1', kind: 'snapshot', size: 64 * mebibyte, sourceId: 'v1' },
        { id: 'v1', kind: 'volume', size: 64 * mebibyte },
      ])
    })

    it('are not made twice by repeating the request', async () => {
      await create('v1')
      await pool.snapshot([{ id: 's1', volumeId: 'v1' }])
      await pool.clone({ id: 'c1', size: 96 * mebibyte, sourceId: 's1' })
      expect(await content('c1')).toBe('first')
      expect(await names()).toEqual(['c1', 'c2', 's1', 'v1'])
    })

    it('are refused where the name is taken by something else', async () => {
      await expect(pool.clone({ id: 'v1', size: 64 * mebibyte, sourceId: 's1' })).rejects.toEqual(error('Conflict'))
      await expect(pool.snapshot([{ id: 'c1', volumeId: 'v1' }])).rejects.toEqual(error('Conflict'))
      await expect(create('s1')).rejects.toEqual(error('Conflict'))
    })

    it('are refused with what can never be', async () => {
      for (const size of [0, -4096, 1000, 1.5, NaN, 2 ** 60]) await expect(create('x', size)).rejects.toEqual(error('InvalidInput'))
      for (const name of ['', '../x', 'a/b', 'a.b', 'x'.repeat(65)]) await expect(create(name)).rejects.toEqual(error('InvalidInput'))
      await expect(pool.clone({ id: 'x', size: mebibyte, sourceId: 'v1' })).rejects.toEqual(error('InvalidInput'))
      await expect(pool.activate('s1', { readOnly: false })).rejects.toEqual(error('InvalidInput'))
      await expect(pool.resize('s1', 128 * mebibyte)).rejects.toEqual(error('InvalidInput'))
    }) // prettier-ignore

    it('are refused of what is not there', async () => {
      const missing = error('NotFound')
      await expect(pool.snapshot([{ id: 's2', volumeId: 'gone' }])).rejects.toEqual(missing)
      await expect(pool.clone({ id: 'c3', size: mebibyte, sourceId: 'gone' })).rejects.toEqual(missing)
      await expect(pool.resize('gone', mebibyte)).rejects.toEqual(missing)
      await expect(pool.restore('v1', 'gone')).rejects.toEqual(missing)
      await expect(pool.activate('gone', { readOnly: true })).rejects.toEqual(missing)
      await pool.delete('gone')
      await pool.deactivate('gone')
    })

    it('can be restored, and deleted in any order', async () => {
      await pool.restore('v1', 's1')
      expect(await content('v1')).toBe('first')
      await pool.resize('v1', 128 * mebibyte)
      await pool.restore('v1', 's1')
      expect((await pool.list()).find((entry) => entry.id === 'v1')?.size).toBe(128 * mebibyte)
      await pool.delete('s1')
      await pool.delete('s1')
      expect([await content('v1'), await content('c1')]).toEqual(['first', 'first'])
      await pool.delete('v1')
      await pool.snapshot([{ id: 's3', volumeId: 'c2' }])
      await pool.delete('c2')
      expect([await content('s3'), await content('c1')]).toEqual(['second', 'first'])
      await empty()
      expect(await names()).toEqual([])
    })
  })

  part('devices', 'a device', () => {
    const open64 = 64 * mebibyte
    beforeAll(() => create('d1'))
    afterAll(empty)

    it('is the same when it is asked for again, and grows in use', async () => {
      const path = await writable('d1')
      expect(await writable('d1')).toBe(path)
      expect(await pool.active()).toEqual([{ id: 'd1', devicePath: path }])
      await pool.resize('d1', 2 * open64)
      expect(execFileSync('blockdev', ['--getsize64', path], { encoding: 'utf8' }).trim()).toBe(String(2 * open64))
      await writeText(path, 'at the new end', 2 * open64 - 4096)
      await expect(pool.resize('d1', open64)).rejects.toEqual(error('Conflict'))
    })

    it('protects its volume: nothing that would pull it away is done', async () => {
      await pool.snapshot([{ id: 'd-s', volumeId: 'd1' }])
      await expect(pool.delete('d1')).rejects.toEqual(error('Conflict'))
      await expect(pool.restore('d1', 'd-s')).rejects.toEqual(error('Conflict'))
      await expect(pool.activate('d1', { readOnly: true })).rejects.toEqual(error('Conflict'))
    })

    it('stays while it is open, and goes when it is not', async () => {
      const path = await writable('d1')
      const user = await open(path)
      await expect(pool.deactivate('d1')).rejects.toEqual(error('Conflict'))
      await user.close()
      expect(await pool.active()).toEqual([{ id: 'd1', devicePath: path }])
      await pool.deactivate('d1')
      await pool.deactivate('d1')
      expect(await pool.active()).toEqual([])
    })

    it('of a snapshot cannot be written', async () => {
      const { devicePath } = await pool.activate('d-s', { readOnly: true })
      await expect(writeText(devicePath, 'no')).rejects.toThrow()
      await pool.deactivate('d-s')
    })

    it('is still there for whoever opens the pool next', async () => {
      const path = await writable('d1')
      await writeText(path, 'kept')
      await pool.close()
      pool = await format.open(device())
      expect(await pool.active()).toEqual([{ id: 'd1', devicePath: path }])
      expect(await readText(path)).toBe('kept')
      await pool.deactivate('d1')
    })
  })

  part('space', 'space', () => {
    afterAll(empty)

    it('is counted as own and shared, and given back by discard and delete', async () => {
      await create('u1')
      const path = await writable('u1')
      const before = await settledUse()
      execFileSync('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', 'count=32', 'oflag=direct', 'status=none'])
      expect((await pool.usages()).get('u1')).toEqual({ own: 32 * mebibyte, shared: 0, reclaimable: 32 * mebibyte })
      await pool.snapshot([{ id: 'u-s', volumeId: 'u1' }])
      expect((await pool.usages()).get('u-s')).toEqual({ own: 0, shared: 32 * mebibyte, reclaimable: 0 })
      execFileSync('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', 'count=8', 'oflag=direct', 'status=none'])
      const both = { own: 8 * mebibyte, shared: 24 * mebibyte, reclaimable: 8 * mebibyte }
      const usages = await pool.usages()
      expect([usages.get('u1'), usages.get('u-s')]).toEqual([both, both])
      await waitUntil(async () => (await pool.space()).used - before > 39 * mebibyte)
      await pool.delete('u-s')
      execFileSync('blkdiscard', ['--offset', '0', '--length', String(16 * mebibyte), path])
      expect((await pool.usages()).get('u1')).toEqual({ own: 16 * mebibyte, shared: 0, reclaimable: 16 * mebibyte })
      await pool.deactivate('u1')
      await pool.delete('u1')
      await waitUntil(async () => (await pool.space()).used - before < 2 * mebibyte)
    })

    it('is told with what comes back of what a snapshot holds only pieces of', async () => {
      const before = await settledUse()
      await create('p1')
      const path = await writable('p1')
      const useBecomes = (bytes: number): Promise<void> =>
        waitUntil(async () => Math.abs((await pool.space()).used - bytes) < 3 * mebibyte)
      const write = async (...options: string[]): Promise<unknown> =>
        run('fio', ['--name=fill', `--filename=${path}`, '--direct=1', '--ioengine=psync', '--size=16M', ...options])
      await write('--rw=write', '--bs=1M')
      await pool.snapshot([{ id: 'p-1', volumeId: 'p1' }])
      await write('--rw=write:4k', '--bs=1020k', '--offset=4k') // all but a piece of each mebibyte
      await pool.snapshot([{ id: 'p-2', volumeId: 'p1' }])
      await pool.delete('p-1')
      await write('--rw=write:1020k', '--bs=4k') // and the pieces, which only the second snapshot still has then
      const usages = await pool.usages()
      const [volume, snapshot] = [usages.get('p1')!, usages.get('p-2')!]
      const inUse = volume.reclaimable + snapshot.reclaimable + snapshot.shared
      await useBecomes(before + inUse)
      await pool.delete('p-2')
      await useBecomes(before + inUse - snapshot.reclaimable)
      await pool.deactivate('p1')
    })
  })

  part('load', 'data under load', () => {
    afterAll(empty)

    it('is right at depth 32, through a snapshot, a clone and a resize', { timeout: 120_000 }, async () => {
      await create('f1', 128 * mebibyte)
      const path = await writable('f1')
      const job = ['--name=check', `--filename=${path}`, '--size=128M', '--bs=4k', '--iodepth=32', '--ioengine=libaio', '--direct=1', '--verify=crc32c', '--verify_state_save=0', '--verify_fatal=1', '--randrepeat=0']
      const writing = run('fio', [...job, '--rw=randwrite', '--time_based', `--runtime=${seconds}`, '--verify_backlog=512'])
      await pool.snapshot([{ id: 'f-s', volumeId: 'f1' }])
      await pool.clone({ id: 'f-c', size: 128 * mebibyte, sourceId: 'f-s' })
      await pool.resize('f1', 192 * mebibyte)
      await writing
    }) // prettier-ignore

    it('is of one instant in the snapshots of a group, while it is written', async () => {
      await Promise.all([create('g1'), create('g2')])
      const [one, two] = [await open(await writable('g1'), 'r+'), await open(await writable('g2'), 'r+')]
      const turns = { written: 0, isDone: false }
      const writing = writeInTurns([one, two], turns)
      const groups = [0, 1, 2].map((each) => [`g1-${each}`, `g2-${each}`] as const)
      for (const [first, second] of groups) {
        const before = turns.written
        await waitUntil(async () => turns.written > before + 1, 10)
        await pool.snapshot([{ id: first, volumeId: 'g1' }, { id: second, volumeId: 'g2' }]) // prettier-ignore
      }
      turns.isDone = true
      await writing
      await Promise.all([one.close(), two.close()])
      for (const [first, second] of groups) {
        const [a, b] = [Number(await content(first)), Number(await content(second))]
        expect([a, a - 1], `of ${a} in the one and ${b} in the other`).toContain(b)
      }
    })

    it('of a group is all there or not at all', async () => {
      const group = [{ id: 'n1', volumeId: 'g1' }, { id: 'n2', volumeId: 'gone' }] // prettier-ignore
      await expect(pool.snapshot(group)).rejects.toEqual(error('NotFound'))
      expect(await names()).not.toContain('n1')
    })
  })

  part('crashes', 'a crash', () => {
    it(`by kill -9 at ${storm.kills} random moments leaves each step done or not done`, { timeout: 600_000 }, async () => {
      await empty()
      await pool.close()
      for (let kill = 0; kill < storm.kills; kill++) await killedStorm(format, device(), storm.command, storm.longest)
      pool = await format.open(device())
      await empty()
    }) // prettier-ignore
  })

  part('full', 'a full pool', () => {
    afterAll(empty)

    it('fails writes, loses nothing that was written, and works again when there is room', { timeout: 120_000 }, async () => {
      const { capacity } = await pool.space()
      await create('kept')
      await write('kept', 'precious')
      await create('big', 2 * Math.ceil(capacity / mebibyte) * mebibyte)
      const path = await writable('big')
      const fill = run('dd', ['if=/dev/zero', `of=${path}`, 'bs=4M', 'oflag=direct', 'status=none'])
      await expect(fill).rejects.toThrow(/No space|Input\/output error/)
      expect(await content('kept')).toBe('precious')
      for (const attempt of [
        () => pool.snapshot([{ id: 'full-s', volumeId: 'kept' }]),
        () => pool.clone({ id: 'full-c', size: 128 * mebibyte, sourceId: 'kept' }),
        () => pool.resize('kept', 96 * mebibyte),
      ]) await attempt().catch((thrown: unknown) => expect(thrown).toEqual(error('Exhausted')))
      await pool.deactivate('big')
      await pool.delete('big')
      await waitUntil(async () => (await pool.space()).used < 0.2 * capacity)
      await write('kept', 'again')
      expect(await content('kept')).toBe('again')
    }) // prettier-ignore
  })
}

/** Writes a number to the one, then to the other, each on the drive before the next, until it is to end. */
async function writeInTurns(devices: Awaited<ReturnType<typeof open>>[], turns: { written: number; isDone: boolean }): Promise<void> {
  for (; !turns.isDone; turns.written++) {
    const text = Buffer.alloc(4096)
    text.write(String(turns.written))
    for (const device of devices) {
      await device.write(text, 0, text.length, 0)
      await device.datasync()
    }
  }
} // prettier-ignore

async function waitUntil(isSo: () => Promise<boolean>, interval = 100): Promise<void> {
  const giveUp = Date.now() + 90_000
  while (!(await isSo())) {
    if (Date.now() > giveUp) throw new Error('it did not come about in 90 s')
    await new Promise((resolve) => setTimeout(resolve, interval))
  }
}
