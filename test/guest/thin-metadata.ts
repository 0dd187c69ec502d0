import { open } from 'node:fs/promises'

const block = 4096
/** BITMAP_CSUM_XOR of drivers/md/persistent-data/dm-space-map-common.c. */
const bitmapXor = 240779

/**
 * Destroys a block of the space map in the metadata of a thin pool, between two offsets of a drive: what `thin_check` finds and
 * `thin_repair` can make anew. Returns where it was.
 */
export async function destroyBitmap(device: string, { begin, end }: { begin: number; end: number }): Promise<number> {
  await using drive = await open(device, 'r+')
  const content = Buffer.alloc(block)
  for (let at = begin; at < end; at += block) {
    await drive.read(content, 0, block, at)
    if (content.readBigUInt64LE(8) === 0n || content.readUInt32LE(0) !== ((crc32c(content.subarray(4)) ^ bitmapXor) >>> 0)) continue
    content.fill(0x5a, 16)
    await drive.write(content, 0, block, at)
    await drive.sync()
    return at
  }
  throw new Error(`there is no bitmap block of a thin pool on ${device}`)
} // prettier-ignore

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value >>> 0
})

/** As dm_bm_checksum has it: begun with all ones, not inverted at the end. */
function crc32c(bytes: Buffer): number {
  let value = 0xffffffff
  for (const byte of bytes) value = table[(value ^ byte) & 0xff]! ^ (value >>> 8)
  return value >>> 0
}
