import type { FilesystemType } from '../../../api/index.ts'

/** A filesystem as its superblock tells of it. */
export interface FoundFilesystem {
  type: FilesystemType
  /** Bytes that it has. */
  size: number
  /** Whether it was unmounted in an orderly way and knows of no error. XFS mends itself when it is mounted. */
  isClean: boolean
}

/** Bytes from the start of a device that hold the superblocks of all filesystems here. */
export const superblockBytes = 4096

const ext4 = { at: 1024, magic: 0xef53, needsRecovery: 0x4, is64Bit: 0x80, valid: 1 } as const
const xfsMagic = 'XFSB'

/** The filesystem whose superblock this is, from the first bytes of a device; undefined when it is none of ours. */
export function readSuperblock(head: Buffer): FoundFilesystem | undefined {
  if (head.length < superblockBytes) return undefined
  if (head.toString('latin1', 0, 4) === xfsMagic) return readXfs(head)
  return head.readUInt16LE(ext4.at + 0x38) === ext4.magic ? readExt4(head.subarray(ext4.at)) : undefined
}

/** kernel: fs/ext4/ext4.h, struct ext4_super_block. */
function readExt4(block: Buffer): FoundFilesystem {
  const incompatible = block.readUInt32LE(0x60)
  const high = incompatible & ext4.is64Bit ? block.readUInt32LE(0x150) : 0
  const blocks = block.readUInt32LE(0x4) + high * 2 ** 32
  const isRecovered = (incompatible & ext4.needsRecovery) === 0
  const isValid = block.readUInt16LE(0x3a) === ext4.valid
  return { type: 'ext4', size: blocks * 2 ** (10 + block.readUInt32LE(0x18)), isClean: isRecovered && isValid }
}

/** kernel: fs/xfs/libxfs/xfs_format.h, struct xfs_dsb; sb_inprogress is set while it is being made. */
function readXfs(block: Buffer): FoundFilesystem | undefined {
  const isBeingMade = block.readUInt8(126) !== 0
  if (isBeingMade) return undefined
  return { type: 'xfs', size: block.readUInt32BE(4) * Number(block.readBigUInt64BE(8)), isClean: true }
}
