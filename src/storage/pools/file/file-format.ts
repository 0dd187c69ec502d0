import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { exec, NotFound } from '../../../base/index.ts'
import type { PoolFormat } from '../../pool-format.ts'
import { sectorSizeOf } from '../../device-number.ts'
import { FilePool } from './file-pool.ts'
import { makeFilesystem, mountPool, poolIdOn } from './filesystem.ts'

const defaultFolder = '/run/carbonado/pools'

/**
 * Volumes as files of a filesystem on the drive, with a loop device over each that is in use: for kernels without device
 * mapper. Pools are mounted below `folder`.
 */
export class FilePoolFormat implements PoolFormat {
  readonly name = 'file'
  readonly #folder: string

  constructor({ folder = defaultFolder }: { folder?: string } = {}) {
    this.#folder = folder
  }

  async unsupportedReason(): Promise<string | undefined> {
    if (!existsSync('/dev/loop-control')) return 'the kernel has no loop devices (CONFIG_BLK_DEV_LOOP, module loop)'
    if (!(await hasBtrfs())) return 'the kernel has no btrfs (CONFIG_BTRFS_FS, module btrfs)'
    if (!(await hasProgram())) return 'mkfs.btrfs is missing; install btrfs-progs'
    return undefined
  }

  probe(device: string): Promise<string | undefined> {
    return poolIdOn(device)
  }

  format(device: string, { id }: { id: string }): Promise<void> {
    return makeFilesystem(device, id)
  }

  async open(device: string): Promise<FilePool> {
    const id = await poolIdOn(device)
    if (id === undefined) throw new NotFound(`there is no pool of files on ${device}`)
    const folder = join(this.#folder, id)
    await mountPool(device, id, folder)
    return FilePool.open(id, folder, sectorSizeOf(device))
  }
}

async function hasBtrfs(): Promise<boolean> {
  await exec(['modprobe', 'btrfs']).catch(() => {}) // without loadable modules the list below tells
  return /\bbtrfs$/m.test(readFileSync('/proc/filesystems', 'utf8'))
}

function hasProgram(): Promise<boolean> {
  return exec(['mkfs.btrfs', '--version']).then(() => true, () => false) // prettier-ignore
}
