import { exec } from '../../base/index.ts'
import { mountPointsOf } from './block-device.ts'

/**
 * Enlarges the filesystem on a device to the size of the device, where it is mounted in this mount namespace; both ext4
 * and XFS do so under use. A filesystem that is not mounted is enlarged when it is next mounted.
 */
export async function growFilesystem(devicePath: string): Promise<void> {
  const [mountPoint] = mountPointsOf(devicePath)
  if (mountPoint === undefined) return
  const { stdout } = await exec(['findmnt', '-n', '-o', 'FSTYPE', '--mountpoint', mountPoint])
  const type = stdout.trim().split('\n')[0]
  if (type === 'xfs') await exec(['xfs_growfs', mountPoint], { deadline: 60_000 })
  else if (type?.startsWith('ext')) await exec(['resize2fs', devicePath], { deadline: 60_000 })
}
