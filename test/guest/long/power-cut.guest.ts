import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FilePoolFormat, LvmThinFormat } from '../../../src/storage/pools/index.ts'
import { recordsOn } from '../../storage/records.ts'
import { LoggedDrive } from '../log-writes.ts'

const mebibyte = 2 ** 20
const run = (...[file, ...args]: [string, ...string[]]): string => execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' }) // prettier-ignore
const appender = process.argv[1]!.replace('.mjs', '.child.mjs')

/** Parts of the first drive: the drive of the pool, and what is left of it after each cut. */
function part(name: string, index: number): string {
  const sectors = (1200 * mebibyte) / 512
  run('dmsetup', 'create', name, '--table', `0 ${sectors} linear /dev/nvme0n1 ${index * sectors}`)
  return `/dev/mapper/${name}`
}

beforeAll(() => void run('modprobe', '-a', 'dm-mod', 'loop', 'btrfs'))

for (const format of [new FilePoolFormat(), new LvmThinFormat()]) describe(`a power cut of a pool of format ${format.name}`, () => {
  const names = ['drive', 'cut0', 'cut1'].map((each) => `${format.name}-${each}`)
  afterAll(() => {
    for (const name of names) run('dmsetup', 'remove', '--retry', name)
    for (const device of ['/dev/nvme0n1', '/dev/nvme1n1']) run('blkdiscard', '--force', device)
  })

  it('loses no record that was flushed', { timeout: 240_000 }, async () => {
    const [drive, ...copies] = names.map(part)
    const logged = new LoggedDrive('logged', drive!, '/dev/nvme1n1')
    expect(await format.unsupportedReason()).toBeUndefined()
    await format.format(logged.path, { id: crypto.randomUUID() })
    const pool = await format.open(logged.path)
    await pool.create({ id: 'log', size: 64 * mebibyte, sectorSize: 4096 })
    const { devicePath } = await pool.activate('log', { readOnly: false })
    const child = spawn(process.execPath, [appender, devicePath])
    let said = ''
    child.stdout.on('data', (piece: Buffer) => (said += piece.toString()))
    const flushed: number[] = []
    for (const cut of [0, 1]) {
      while (last(said) <= (flushed.at(-1) ?? 0) + 20) await once(child.stdout, 'data')
      flushed.push(last(said))
      logged.mark(`cut${cut}`)
      await pool.snapshot([{ id: `s${cut}`, volumeId: 'log' }]) // from here on writes go to new places
    }
    child.kill('SIGKILL')
    await once(child, 'close')
    await pool.deactivate('log')
    await pool.close()
    logged.remove()
    for (const [cut, copy] of copies.entries()) {
      await logged.replay(`cut${cut}`, copy)
      const survivor = await format.open(copy)
      expect((await survivor.list()).map(({ id }) => id)).toEqual(cut === 0 ? ['log'] : expect.arrayContaining(['log', 's0']))
      const log = await survivor.activate('log', { readOnly: true })
      const found = await recordsOn(log.devicePath)
      expect(found).toBeGreaterThanOrEqual(flushed[cut]!)
      expect(found).toBeLessThan(last(said)) // it is a cut
      await survivor.deactivate('log')
      await survivor.close()
    }
  })
}) // prettier-ignore

function last(said: string): number {
  return Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1))
}
