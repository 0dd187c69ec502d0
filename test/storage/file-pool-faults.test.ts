import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import { readText, writeText } from './block-content.ts'
import { recordsOn } from './records.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

enterOwnNamespaces()
const format = new FilePoolFormat()
const scratch = mkdtempSync('/var/tmp/carbonado-file-pool-faults-')
const shelf = `${scratch}/shelf`
const loops: string[] = []

/** A loop device over a file. */
function loop(file: string, ...options: string[]): string {
  const device = run('losetup', '--find', '--show', '--direct-io=on', ...options, file).trim()
  loops.push(device)
  return device
}

/** Lets go of the newest loop device. */
function unloop(): void {
  run('losetup', '--detach', loops.pop()!)
}

// Drives lie on a filesystem that can copy a file at one instant, as a power cut would leave it.
mkdirSync(shelf)
run('truncate', '--size', '4G', `${scratch}/shelf.image`)
run('mkfs.xfs', '-q', '-m', 'reflink=1', `${scratch}/shelf.image`)
run('mount', loop(`${scratch}/shelf.image`), shelf)

beforeEach(() => void run('truncate', '--size', '1G', `${shelf}/drive`))
afterEach(() => void run('rm', '-f', `${shelf}/drive`, `${shelf}/copy`))
afterAll(() => {
  while (loops.length > 1) unloop()
  run('umount', shelf)
  unloop()
  rmSync(scratch, { recursive: true })
})

it('keeps every record that was flushed before a power cut', { timeout: 120_000 }, async () => {
  const device = loop(`${shelf}/drive`)
  await format.format(device, { id: crypto.randomUUID() })
  const pool = await format.open(device)
  await pool.create({ id: 'log', size: 64 * 2 ** 20, sectorSize: 4096 })
  const { devicePath } = await pool.activate('log', { readOnly: false })
  const appender = spawn(process.execPath, [`${import.meta.dirname}/record-appender.ts`, devicePath])
  let said = ''
  appender.stdout.on('data', (part: Buffer) => (said += part.toString()))
  const cuts: number[] = []
  for (let cut = 0; cut < 3; cut++) {
    await expect
      .poll(() => Number(said.trimEnd().split('\n').at(-1)), { timeout: 30_000 })
      .toBeGreaterThan((cuts.at(-1) ?? 0) + 20)
    await pool.snapshot([{ id: `s${cut}`, volumeId: 'log' }]) // from here on writes go to new places
    cuts.push(Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1)))
    run('cp', '--reflink=always', `${shelf}/drive`, `${shelf}/copy${cut}`)
  }
  appender.kill('SIGKILL')
  await once(appender, 'close')
  await pool.deactivate('log')
  await pool.close()
  unloop()
  for (const [cut, flushed] of cuts.entries()) {
    const survivor = await format.open(loop(`${shelf}/copy${cut}`))
    const log = await survivor.activate('log', { readOnly: true })
    expect(await recordsOn(log.devicePath)).toBeGreaterThanOrEqual(flushed)
    await survivor.deactivate('log')
    await survivor.close()
    unloop()
    run('rm', `${shelf}/copy${cut}`)
  }
})

it('keeps what was flushed on a drive that fails writes, says so, and works again when the drive does', async () => {
  const other = loop(`${shelf}/drive`)
  await format.format(other, { id: crypto.randomUUID() })
  const otherPool = await format.open(other)
  await otherPool.create({ id: 'of-another', size: 2 ** 20, sectorSize: 4096 })
  await otherPool.activate('of-another', { readOnly: false })
  const narrow = `${scratch}/narrow`
  mkdirSync(narrow)
  run('mount', '-t', 'tmpfs', '-o', 'size=300M', 'tmpfs', narrow)
  run('truncate', '--size', '1G', `${narrow}/drive`) // a write for which the filesystem has no room is an I/O error of the drive
  const device = loop(`${narrow}/drive`)
  await format.format(device, { id: crypto.randomUUID() })
  let pool = await format.open(device)
  for (const [id, mebibytes] of [['kept', 16], ['big', 600]] as const) {
    await pool.create({ id, size: mebibytes * 2 ** 20, sectorSize: 4096 })
  }
  const kept = await pool.activate('kept', { readOnly: false })
  await writeText(kept.devicePath, 'precious')
  const big = await pool.activate('big', { readOnly: false })
  expect(() => run('dd', 'if=/dev/urandom', `of=${big.devicePath}`, 'bs=1M', 'oflag=direct')).toThrow('error writing')
  await expect
    .poll(() => pool.create({ id: crypto.randomUUID(), size: 2 ** 20, sectorSize: 4096 }).then(() => 'made', () => 'refused'), { timeout: 30_000 })
    .toBe('refused')
  await expect(pool.space()).rejects.toMatchObject({ code: 'Internal', message: expect.stringContaining('its drive failed to write') })
  await expect(pool.list()).rejects.toThrow() // rather than a list with something missing
  expect((await pool.active()).map(({ id }) => id).sort()).toEqual(['big', 'kept']) // and not of other pools
  for (const { id } of await pool.active()) await pool.deactivate(id)
  run('mount', '-o', 'remount,size=2G', narrow)
  await pool.close()
  pool = await format.open(device)
  const again = await pool.activate('kept', { readOnly: false })
  expect(await readText(again.devicePath)).toBe('precious')
  await writeText(again.devicePath, 'written again')
  expect((await pool.space()).used).toBeGreaterThan(0)
  await pool.deactivate('kept')
  await pool.close()
  unloop()
  run('umount', narrow)
  await otherPool.deactivate('of-another')
  await otherPool.close()
  unloop()
}) // prettier-ignore

it('does not open a copy of a drive beside the drive', async () => {
  const device = loop(`${shelf}/drive`)
  await format.format(device, { id: crypto.randomUUID() })
  const pool = await format.open(device)
  await pool.create({ id: 'v', size: 2 ** 20, sectorSize: 4096 })
  run('cp', '--reflink=always', `${shelf}/drive`, `${shelf}/copy`)
  const copy = loop(`${shelf}/copy`)
  expect(await format.probe(copy)).toBe(pool.id)
  await expect(format.open(copy)).rejects.toMatchObject({ code: 'Conflict', message: expect.stringContaining(copy) })
  await expect(new FilePoolFormat({ folder: '/run/elsewhere' }).open(copy)).rejects.toMatchObject({ code: 'Conflict' })
  expect(await pool.list()).toHaveLength(1)
  await pool.close()
  unloop()
  unloop()
})

it('has volumes with the sectors of its drive', async () => {
  const device = loop(`${shelf}/drive`, '--sector-size=4096')
  await format.format(device, { id: crypto.randomUUID() })
  const pool = await format.open(device)
  expect(pool.sectorSize).toBe(4096)
  await expect(pool.create({ id: 'v', size: 2 ** 20, sectorSize: 512 })).rejects.toMatchObject({ code: 'InvalidInput' })
  await pool.create({ id: 'v', size: 2 ** 20, sectorSize: 4096 })
  const { devicePath } = await pool.activate('v', { readOnly: false })
  expect(run('blockdev', '--getss', devicePath).trim()).toBe('4096')
  await writeText(devicePath, 'in large sectors')
  await pool.deactivate('v')
  await pool.close()
  unloop()
})

it('has more volumes in use than there are loop devices at first, and gives back what is zeroed in one', async () => {
  const device = loop(`${shelf}/drive`)
  await format.format(device, { id: crypto.randomUUID() })
  const pool = await format.open(device)
  const ids = Array.from({ length: 24 }, (_, index) => `v${index}`)
  const paths: string[] = []
  for (const id of ids) {
    await pool.create({ id, size: 16 * 2 ** 20, sectorSize: 4096 })
    paths.push((await pool.activate(id, { readOnly: false })).devicePath)
    await writeText(paths.at(-1)!, id)
  }
  expect(new Set(paths).size).toBe(24)
  expect(await Promise.all(paths.map((path) => readText(path)))).toEqual(ids)
  run('dd', 'if=/dev/urandom', `of=${paths[0]}`, 'bs=1M', 'count=16', 'oflag=direct', 'status=none')
  run('fallocate', '--punch-hole', '--offset', String(4 * 2 ** 20), '--length', String(8 * 2 ** 20), paths[0]!)
  run('sync', '--file-system', `/run/carbonado/pools/${pool.id}`)
  expect((await pool.usages()).get('v0')).toEqual({ own: 8 * 2 ** 20, shared: 0, reclaimable: 8 * 2 ** 20 })
  for (const id of ids) await pool.deactivate(id)
  expect(await pool.active()).toEqual([])
  await pool.close()
  unloop()
})

it('is not taken for a pool before its format is complete, and can be formatted again', async () => {
  const device = loop(`${shelf}/drive`)
  expect(await format.probe(device)).toBeUndefined()
  run('mkfs.btrfs', '--quiet', '--label', 'of-somebody', device)
  expect(await format.probe(device)).toBeUndefined()
  await expect(format.format(device, { id: 'not-a-uuid' })).rejects.toMatchObject({ code: 'InvalidInput' })
  const id = crypto.randomUUID()
  await format.format(device, { id })
  await format.format(device, { id })
  const pool = await format.open(device)
  expect([pool.id, await pool.list()]).toEqual([id, []])
  await pool.close()
  expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(id)
  unloop()
})
