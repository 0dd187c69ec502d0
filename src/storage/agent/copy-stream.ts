import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { Unavailable } from '../../base/index.ts'
import type { CopyPace } from './drive-copies.ts'

/** Bytes of a block of the stream, the unit of what is left out when it is all zeros. */
export const copyBlock = 2 ** 20
/** Bytes that one request asks for, the unit of resuming. */
export const copySegment = 64 * copyBlock

/** Bytes that are written before they are flushed: so much at most comes upon the drive at once. */
const longestDirt = 8 * copyBlock

const headerLength = 8 + 4 + 32
const zeros = Buffer.alloc(copyBlock)

/**
 * Blocks of a device from `offset` for `length` bytes, as they go over the wire: for each block that is not all zeros its
 * offset (8 bytes), length (4 bytes), SHA-256 and content; at the end a header of length 0 with the offset reached. It goes
 * at the pace that is given, if one is.
 */
export async function* encodeBlocks(
  devicePath: string,
  offset: number,
  length: number,
  pace?: CopyPace,
): AsyncGenerator<Buffer> {
  const file = await open(devicePath, 'r')
  try {
    for (let at = offset; at < offset + length; at += copyBlock) {
      const wanted = Math.min(copyBlock, offset + length - at)
      const block = Buffer.allocUnsafe(wanted)
      const { bytesRead } = await file.read(block, 0, wanted, at)
      if (bytesRead < wanted) throw new Unavailable(`${devicePath} ends at ${at + bytesRead}, before ${at + wanted}`)
      await pace?.after(wanted)
      if (block.equals(zeros.subarray(0, wanted))) continue
      yield header(at, block)
      yield block
    }
    yield header(offset + length, Buffer.alloc(0))
  } finally {
    await file.close()
  }
}

function header(offset: number, block: Buffer): Buffer {
  const bytes = Buffer.alloc(headerLength)
  bytes.writeBigUInt64BE(BigInt(offset))
  bytes.writeUInt32BE(block.length, 8)
  createHash('sha256').update(block).digest().copy(bytes, 12)
  return bytes
}

/**
 * Writes what `encodeBlocks` made to a device that holds nothing but zeros and earlier writes of the same, and flushes
 * it, at the pace that is given, if one is. Throws Unavailable when the stream ends early or a checksum is wrong.
 */
export async function writeBlocks(
  stream: Readable | AsyncIterable<Buffer>,
  devicePath: string,
  range: { offset: number; length: number },
  pace?: CopyPace,
): Promise<void> {
  const file = await open(devicePath, 'r+')
  try {
    let reached = range.offset
    let isWhole = false
    let dirty = 0
    for await (const { offset, block } of decode(stream)) {
      if (block.length > 0) {
        await file.write(block, 0, block.length, offset)
        dirty += block.length
        if (dirty >= longestDirt || pace?.isHeld()) {
          await file.datasync() // what waits in memory is not seen by who keeps floors, and comes all at once
          dirty = 0
        }
        await pace?.after(block.length)
      }
      reached = offset + block.length
      isWhole = block.length === 0
    }
    if (!isWhole || reached !== range.offset + range.length) {
      throw new Unavailable(`the copy ended at ${reached}, before ${range.offset + range.length}`)
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

async function* decode(stream: AsyncIterable<Buffer>): AsyncGenerator<{ offset: number; block: Buffer }> {
  let parts: Buffer[] = []
  let have = 0
  let needed = headerLength
  for await (const part of stream) {
    parts.push(part)
    have += part.length
    while (have >= needed) {
      const bytes = Buffer.concat(parts)
      const whole = headerLength + lengthIn(bytes)
      if (have >= whole) yield checked(bytes.subarray(0, whole))
      parts = [have >= whole ? bytes.subarray(whole) : bytes]
      have = parts[0]!.length
      needed = have >= headerLength ? headerLength + lengthIn(parts[0]!) : headerLength
    }
  }
  if (have > 0) throw new Unavailable('the copy ended within a block')
}

function lengthIn(bytes: Buffer): number {
  const length = bytes.readUInt32BE(8)
  if (length > copyBlock) throw new Unavailable(`the copy has a block of ${length} bytes, more than ${copyBlock}`)
  return length
}

function checked(bytes: Buffer): { offset: number; block: Buffer } {
  const block = bytes.subarray(headerLength)
  if (!createHash('sha256').update(block).digest().equals(bytes.subarray(12, headerLength))) {
    throw new Unavailable(`the checksum of a block of the copy is wrong`)
  }
  return { offset: Number(bytes.readBigUInt64BE()), block }
}
