import { existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { detach, loopDevices, type LoopDevice } from '../../lab/drives.ts'
import { exec, execJson } from '../../src/base/index.ts'
import { entryName } from '../../src/storage/pools/file/entry-name.ts'
import { FilePoolFormat } from '../../src/storage/pools/index.ts'
import type { Pool } from '../../src/storage/pool-format.ts'

/** Everything that these benchmarks have on the machine is below it. */
const scratch = `/var/tmp/carbonado-bench-storage-${process.env.CARBONADO_LAB}`
const sectorSize = 512

/** A pool of files on a drive of its own: a loop device over a file on the disk, as the lab's nodes have. */
export interface ScratchPool {
  pool: Pool
  /** Makes a volume and its device. */
  volume(id: string, size: number): Promise<string>
  /** The file of a volume. */
  fileOf(id: string): string
  /** A loop device made by losetup, over a file of the pool or of the disk. */
  loopOver(file: string): Promise<string>
  /** A device like the one below the pool, and as large as told. */
  drive(name: string, bytes: number): Promise<string>
}

/** Makes a drive of this many bytes, which take place on the disk as they are written, and a pool on it. */
export async function openScratchPool(bytes: number): Promise<ScratchPool> {
  await removeScratch()
  mkdirSync(scratch, { recursive: true, mode: 0o700 })
  const id = crypto.randomUUID()
  const device = await makeDrive('drive', bytes)
  const format = new FilePoolFormat({ folder: poolsFolder() })
  await format.format(device, { id })
  const pool = await format.open(device)
  return {
    pool,
    async volume(name, size) {
      await pool.create({ id: name, size, sectorSize })
      return (await pool.activate(name, { readOnly: false })).devicePath
    },
    fileOf: (name) => join(poolsFolder(), id, entryName({ id: name, kind: 'volume', sectorSize }), 'data'),
    loopOver,
    drive: makeDrive,
  }
}

/** Removes pool, devices and files, also those that a crash left. */
export async function removeScratch(): Promise<void> {
  if (!existsSync(scratch)) return
  // Those over files of the pool first; only then can it be unmounted, and its drive be let go.
  const devicesBelow = (folder: string): LoopDevice[] =>
    loopDevices().filter(({ file }) => file.startsWith(`${folder}/`))
  await detach(devicesBelow(poolsFolder()))
  await unmountPools()
  await detach(devicesBelow(scratch))
  rmSync(scratch, { recursive: true })
}

function poolsFolder(): string {
  return join(scratch, 'pools')
}

async function makeDrive(name: string, bytes: number): Promise<string> {
  const image = join(scratch, name)
  writeFileSync(image, '', { mode: 0o600 })
  truncateSync(image, bytes)
  return loopOver(image)
}

async function loopOver(file: string): Promise<string> {
  return (await exec(['losetup', '--find', '--show', '--direct-io=on', file])).stdout.trim()
}

async function unmountPools(): Promise<void> {
  const mounts = await execJson<{ filesystems: { target: string }[] }>(['findmnt', '--json', '--list', '-o', 'TARGET'])
  for (const { target } of mounts?.filesystems ?? []) {
    if (target.startsWith(`${poolsFolder()}/`)) await exec(['umount', target], { deadline: 60_000 })
  }
}
