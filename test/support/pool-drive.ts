import { mkdtempSync, rmSync } from 'node:fs'
import { run } from './own-namespaces.ts'

/** A loop device over a sparse file on the disk, large enough for a pool. */
export interface PoolDrive {
  device: string
  /** Detaches the device and removes its file. */
  remove(): void
}

/** Makes a drive for tests of pools. */
export function makePoolDrive(): PoolDrive {
  const scratch = mkdtempSync('/var/tmp/carbonado-file-pool-')
  const drive = `${scratch}/drive`
  run('truncate', '-s', '1300M', drive)
  const device = run('losetup', '--find', '--show', '--direct-io=on', drive).trim()
  return {
    device,
    remove: () => {
      run('losetup', '--detach', device)
      rmSync(scratch, { recursive: true })
    },
  }
}
