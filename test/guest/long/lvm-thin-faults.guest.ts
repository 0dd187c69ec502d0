import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { calibrate } from '../../../src/storage/agent/calibration.ts'
import type { Pool } from '../../../src/storage/pool-format.ts'
import { LvmThinFormat } from '../../../src/storage/pools/index.ts'
import { readText, writeText } from '../../storage/block-content.ts'
import { FaultyDrive } from '../faulty-drive.ts'
import { destroyBitmap } from '../thin-metadata.ts'

const mebibyte = 2 ** 20
const format = new LvmThinFormat()
const run = (...[file, ...args]: [string, ...string[]]): string => execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' }) // prettier-ignore

const drive = new FaultyDrive('faulty', '/dev/nvme0n1', 1024 * mebibyte)
let pool: Pool

beforeAll(async () => {
  expect(await format.unsupportedReason()).toBeUndefined()
  await format.format(drive.path, { id: 'faults' })
  pool = await format.open(drive.path)
  await pool.create({ id: 'kept', size: 64 * mebibyte, sectorSize: 4096 })
})
afterAll(async () => {
  for (const { id } of await pool.active()) await pool.deactivate(id)
  await pool.close()
  drive.remove()
})

async function writable(id: string): Promise<string> {
  return (await pool.activate(id, { readOnly: false })).devicePath
}

async function reopen(): Promise<void> {
  for (const { id } of await pool.active()) await pool.deactivate(id)
  await pool.close()
  pool = await format.open(drive.path)
}

/** Where on the drive the metadata of the thin pool is, in bytes. */
function metadataRange(): { begin: number; end: number } {
  const ask = (command: string, ...fields: string[]): string => {
    return run('lvm', command, '--devices', drive.path, '--noheadings', '--units', 'b', '--nosuffix', ...fields).trim()
  }
  const [, first, last] = /:(\d+)-(\d+)$/.exec(ask('lvs', '-a', '-o', 'seg_pe_ranges', 'cbn-faults/pool_tmeta'))!
  const start = Number(ask('pvs', '-o', 'pe_start', drive.path))
  return { begin: start + Number(first) * mebibyte, end: start + (Number(last) + 1) * mebibyte }
}

describe('a pool of thin volumes', () => {
  it('lets writers go on that an agent held when it was killed', async () => {
    const path = await writable('kept')
    run('dmsetup', 'suspend', '--nolockfs', path)
    const writer = spawn('dd', ['if=/dev/zero', `of=${path}`, 'bs=4k', 'count=1', 'oflag=direct', 'seek=10'])
    const ended = once(writer, 'close')
    pool = await format.open(drive.path)
    expect(await ended).toEqual([0, null])
  })

  it('on a drive that fails says so, and has all that was flushed when the drive works again', async () => {
    const path = await writable('kept')
    await writeText(path, 'precious')
    await pool.create({ id: 'other', size: 256 * mebibyte, sectorSize: 4096 })
    const other = await writable('other')
    drive.failWrites()
    expect(() => run('dd', 'if=/dev/urandom', `of=${other}`, 'bs=1M', 'oflag=direct')).toThrow('Input/output error')
    await expect(pool.create({ id: 'x', size: mebibyte, sectorSize: 4096 })).rejects.toMatchObject({ code: 'Internal' })
    await expect(pool.space()).rejects.toMatchObject({ code: 'Internal' })
    expect(await readText(path)).toBe('precious')
    drive.work()
    await reopen()
    expect((await pool.list()).map(({ id }) => id).sort()).toEqual(['kept', 'other'])
    expect(await readText(await writable('kept'))).toBe('precious')
    await writeText(await writable('other'), 'goes on')
    expect((await pool.space()).used).toBeGreaterThan(0)
  })

  it('on a drive that is gone has nothing to tell, rather than an empty list', async () => {
    drive.fail()
    await expect(pool.list()).rejects.toThrow()
    await expect(format.open(drive.path)).rejects.toThrow()
    drive.work()
    await reopen()
    expect(await readText(await writable('kept'))).toBe('precious')
  })

  it('whose metadata is damaged is repaired when it is opened, and again', { timeout: 120_000 }, async () => {
    for (const text of ['precious', 'precious still']) {
      for (const { id } of await pool.active()) await pool.deactivate(id)
      await pool.close()
      await destroyBitmap(drive.path, metadataRange())
      pool = await format.open(drive.path)
      expect(await readText(await writable('kept'))).toBe(text)
      await writeText(await writable('kept'), 'precious still')
    }
    await reopen()
    expect(await readText(await writable('kept'))).toBe('precious still')
  })
})

describe('a pool of thin volumes whose metadata is small', () => {
  it(
    'gives it more room when it is tight, and makes nothing new when there is none left',
    { timeout: 240_000 },
    async () => {
      const [narrow, least] = [new FaultyDrive('narrow', '/dev/nvme1n1', 64 * mebibyte), 2 * mebibyte]
      const small = new LvmThinFormat({ leastMetadata: least })
      await small.format(narrow.path, { id: 'narrow' })
      const tight = await small.open(narrow.path)
      const make = (id: string): Promise<void> => tight.create({ id, size: mebibyte, sectorSize: 4096 })
      const message = (text: string, from: number, to: number): string =>
        run(
          'sh',
          '-ec',
          `for id in $(seq ${from} ${to}); do dmsetup message cbn--narrow-pool-tpool 0 "${text} $id"; done`,
        )
      await make('first')
      const shares: number[] = []
      let [id, share] = [1000, 0]
      while (share <= 0.75) {
        message('create_thin', id, id + 39) // each takes a block of the metadata
        id += 40
        share = (await tight.space()).metadataUsed!
        shares.push(share)
      }
      expect(shares.filter((each, index) => each < shares[index - 1]!)).toHaveLength(1)
      await expect(make('x')).rejects.toMatchObject({ code: 'Exhausted', message: expect.stringContaining('metadata') })
      message('delete', 1000, 1199)
      await make('x')
      expect((await tight.list()).map((each) => each.id).sort()).toEqual(['first', 'x'])
      await tight.close()
      narrow.remove()
    },
  )
})

describe('a drive with sectors of 4096 bytes', () => {
  it('is measured, and has volumes with such sectors', { timeout: 120_000 }, async () => {
    run('modprobe', 'loop')
    const device = run('losetup', '--find', '--show', '--sector-size', '4096', '--sizelimit', String(1024 * mebibyte), '/dev/nvme1n1').trim() // prettier-ignore
    await format.format(device, { id: 'large-sectors' })
    const large = await format.open(device)
    expect(large.sectorSize).toBe(4096)
    await expect(large.create({ id: 'v', size: mebibyte, sectorSize: 512 })).rejects.toMatchObject({
      code: 'InvalidInput',
    })
    expect((await calibrate(large)).readIops).toBeGreaterThan(10)
    await large.close()
    run('losetup', '--detach', device)
  })
})
