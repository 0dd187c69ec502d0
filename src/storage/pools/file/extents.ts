import { open, type FileHandle } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import type { EntryUsage } from '../../pool-format.ts'
import { ioctl } from './ioctl.ts'

/** FS_IOC_FIEMAP of linux/fs.h; struct fiemap, then an array of struct fiemap_extent. */
const fiemap = 0xc020660b
const headerBytes = 32
const extentBytes = 56
const extentsAtOnce = 1000
const flag = { last: 1, shared: 0x2000 } as const

/** BTRFS_IOC_TREE_SEARCH_V2 of linux/btrfs.h, and the fields of its struct btrfs_ioctl_search_key that are used here. */
const treeSearch = 0xc0709411
const key = {
  minObject: 8,
  maxObject: 16,
  minOffset: 24,
  maxOffset: 32,
  maxTransaction: 48,
  minType: 56,
  maxType: 60,
  count: 64,
  size: 104,
  results: 112,
} as const
/** Before each item found: struct btrfs_ioctl_search_header. */
const found = { offset: 16, length: 28, bytes: 32 } as const
/** struct btrfs_file_extent_item of linux/btrfs_tree.h; inline extents have no place of their own on the drive. */
const extentItem = { keyType: 108, type: 20, inline: 0, place: 21, bytes: 29 } as const
const resultBytes = 256 * 1024

/**
 * Bytes of a file by whether another file has them too, and what deleting it gives back. An extent is on the drive as a
 * whole as long as a piece of it is in use, and comes back when the last piece goes: so what comes back may be more than
 * what the file can read of it. In steps, so that a file of many extents holds up nobody; one that is written meanwhile is
 * told as of some moment for each of them.
 */
export async function extentUsage(path: string): Promise<EntryUsage> {
  await using file = await open(path)
  const { own, shared, sharedRanges } = await readExtents(file)
  return { own, shared, reclaimable: await wholeExtents(file, sharedRanges) }
}

interface FileExtents {
  own: number
  shared: number
  /** Begin and end of each part of the file that another file has too, in order. */
  sharedRanges: { begin: number; end: number }[]
}

async function readExtents(file: FileHandle): Promise<FileExtents> {
  const extents: FileExtents = { own: 0, shared: 0, sharedRanges: [] }
  const buffer = Buffer.alloc(headerBytes + extentsAtOnce * extentBytes)
  for (let start: bigint | undefined = 0n; start !== undefined;) {
    start = addExtents(file.fd, start, buffer, extents)
    await setImmediate()
  }
  return extents
}

/** Adds the extents from an offset on; returns where to go on. */
function addExtents(descriptor: number, start: bigint, buffer: Buffer, extents: FileExtents): bigint | undefined {
  buffer.fill(0, 0, headerBytes)
  buffer.writeBigUInt64LE(start, 0)
  buffer.writeBigUInt64LE(2n ** 64n - 1n - start, 8)
  buffer.writeUInt32LE(extentsAtOnce, 24)
  ioctl(descriptor, fiemap, buffer, 'reading the extents of a file')
  const count = buffer.readUInt32LE(20)
  let next: bigint | undefined
  for (let at = headerBytes; at < headerBytes + count * extentBytes; at += extentBytes) {
    const [logical, length, flags] = [
      buffer.readBigUInt64LE(at),
      buffer.readBigUInt64LE(at + 16),
      buffer.readUInt32LE(at + 40),
    ]
    if (flags & flag.shared) addShared(extents, Number(logical), Number(length))
    else extents.own += Number(length)
    next = flags & flag.last ? undefined : logical + length
  }
  return next
}

function addShared(extents: FileExtents, begin: number, length: number): void {
  extents.shared += length
  const last = extents.sharedRanges.at(-1)
  if (last?.end === begin) last.end += length
  else extents.sharedRanges.push({ begin, end: begin + length })
}

/** Bytes on the drive of the extents of which no piece is in another file. */
async function wholeExtents(file: FileHandle, sharedRanges: { begin: number; end: number }[]): Promise<number> {
  const { ino } = await file.stat({ bigint: true })
  const buffer = Buffer.alloc(key.results + resultBytes)
  const counted = new Set<number>()
  let bytes = 0
  let range = 0
  for (let from: bigint | undefined = 0n; from !== undefined;) {
    const pieces = searchPieces(file.fd, ino, from, buffer)
    for (const { offset, place, length } of pieces) {
      while (sharedRanges[range] && sharedRanges[range]!.end <= offset) range += 1
      const isShared = sharedRanges[range] !== undefined && sharedRanges[range]!.begin <= offset
      if (isShared || place === 0 || counted.has(place)) continue
      counted.add(place)
      bytes += length
    }
    from = pieces.length === 0 ? undefined : BigInt(pieces.at(-1)!.offset) + 1n
    await setImmediate()
  }
  return bytes
}

/** A piece of an extent in a file: where in the file it begins, where on the drive the extent is (0: nowhere), its bytes there. */
interface Piece {
  offset: number
  place: number
  length: number
}

/** The next pieces of a file from an offset on, as many as there is room for; none at its end. */
function searchPieces(descriptor: number, inode: bigint, from: bigint, buffer: Buffer): Piece[] {
  buffer.fill(0, 0, key.results)
  for (const at of [key.minObject, key.maxObject]) buffer.writeBigUInt64LE(inode, at)
  buffer.writeBigUInt64LE(from, key.minOffset)
  for (const at of [key.maxOffset, key.maxTransaction]) buffer.writeBigUInt64LE(2n ** 64n - 1n, at)
  for (const at of [key.minType, key.maxType]) buffer.writeUInt32LE(extentItem.keyType, at)
  buffer.writeUInt32LE(2 ** 32 - 1, key.count)
  buffer.writeBigUInt64LE(BigInt(resultBytes), key.size)
  ioctl(descriptor, treeSearch, buffer, 'reading the places of a file')
  const pieces: Piece[] = []
  let at: number = key.results
  for (let count = buffer.readUInt32LE(key.count); count > 0; count -= 1) {
    const item = at + found.bytes
    const isInline = buffer.readUInt8(item + extentItem.type) === extentItem.inline
    pieces.push({
      offset: Number(buffer.readBigUInt64LE(at + found.offset)),
      place: isInline ? 0 : Number(buffer.readBigUInt64LE(item + extentItem.place)),
      length: isInline ? 0 : Number(buffer.readBigUInt64LE(item + extentItem.bytes)),
    })
    at = item + buffer.readUInt32LE(at + found.length)
  }
  return pieces
}
