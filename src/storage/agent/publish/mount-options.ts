import type { FilesystemType } from '../../../api/index.ts'

/**
 * Options of every mount, chosen for databases:
 * - `noatime`: reading writes nothing.
 * - ext4 `errors=remount-ro`: after an error of its metadata nothing makes it worse, and the volume's condition says so.
 * - XFS `nouuid`: a clone has the identity of its source and may be mounted beside it. That one volume is not mounted twice
 *   is what the attachment holds, not the filesystem.
 * - no `discard`: deleting a file waits for no drive. Space that files give up comes back to the pool by fstrim; nobody
 *   waits for it, because the whole size of a volume is promised to it.
 */
const standard: Record<FilesystemType, readonly string[]> = {
  ext4: ['noatime', 'errors=remount-ro'],
  xfs: ['noatime', 'nouuid'],
}

/** A log that cannot be replayed, because the device cannot be written, is left as it is. */
const withoutReplay: Record<FilesystemType, string> = { ext4: 'noload', xfs: 'norecovery' }

/** Options of a mount, those asked for after ours so that they overrule them. */
export function mountOptions(
  type: FilesystemType,
  { readOnly, flags }: { readOnly: boolean; flags: string[] },
): string[] {
  return [...standard[type], ...(readOnly ? ['ro'] : []), ...flags]
}

/** The same for a device that cannot be written and was not unmounted in an orderly way. */
export function optionsWithoutReplay(type: FilesystemType, options: string[]): string[] {
  return [...options, withoutReplay[type]]
}

/**
 * How a filesystem is made on a device that is blank: without discarding it first, and leaving to the kernel what it can do
 * later. No blocks are kept back for root: a database is told the space that there is.
 */
export function formatCommand(type: FilesystemType, device: string): [string, ...string[]] {
  if (type === 'xfs') return ['mkfs.xfs', '-q', '-f', '-K', device]
  // left to itself it takes blocks of 1 KiB for small volumes: what is not aligned to 4 KiB costs the pool two or three times
  return [
    'mkfs.ext4',
    '-q',
    '-F',
    '-m',
    '0',
    '-b',
    '4096',
    '-E',
    'nodiscard,lazy_itable_init=1,lazy_journal_init=1',
    device,
  ]
}
