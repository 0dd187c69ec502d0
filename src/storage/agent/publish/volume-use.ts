import { statfs } from 'node:fs/promises'
import type { MountEntry } from './mount-table.ts'
import type { PublishRecord } from './publish-journal.ts'

/** How much of a volume is used, and whether something is wrong. */
export interface VolumeUse {
  bytes: { total: number; used?: number; available?: number }
  inodes?: { total: number; used: number; available: number }
  problem?: string
}

/** How much of a volume is used, asked at a path at which its filesystem is mounted. */
export async function useOf(record: PublishRecord, path: string, mount: MountEntry): Promise<VolumeUse> {
  const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path)
  return {
    bytes: { total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
    inodes: { total: files, used: files - ffree, available: ffree },
    ...problemOf(record, mount),
  }
}

function problemOf(
  { readOnly, filesystem }: PublishRecord,
  { isFilesystemReadOnly }: MountEntry,
): { problem?: string } {
  if (readOnly || !isFilesystemReadOnly) return {}
  return { problem: `its ${filesystem} was made read-only after an error; look at the kernel's log and check it` }
}
