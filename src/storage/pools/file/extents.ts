import { open } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import type { EntryUsage } from '../../pool-format.ts'
import { ioctl } from './ioctl.ts'

/** FS_IOC_FIEMAP of linux/fs.h; struct fiemap, then an array of struct fiemap_extent. */
const fiemap = 0xc020660b
const headerBytes = 32
const extentBytes = 56
const extentsAtOnce = 1000
const flag = { last: 1, unwritten: 0x800, shared: 0x2000 } as const

/** Bytes of a file's extents by whether another file has them too. In steps, so that a file of many extents holds up nobody. */
export async function extentUsage(path: string): Promise<EntryUsage> {
  await using file = await open(path)
  const usage: EntryUsage = { own: 0, shared: 0 }
  const buffer = Buffer.alloc(headerBytes + extentsAtOnce * extentBytes)
  for (let start: bigint | undefined = 0n; start !== undefined;) {
    start = addExtents(file.fd, start, buffer, usage)
    await setImmediate()
  }
  return usage
}

/** Adds the extents from an offset on; returns where to go on. */
function addExtents(descriptor: number, start: bigint, buffer: Buffer, usage: EntryUsage): bigint | undefined {
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
    usage[flags & flag.shared ? 'shared' : 'own'] += Number(length)
    next = flags & flag.last ? undefined : logical + length
  }
  return next
}
