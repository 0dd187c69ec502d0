import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { copyBlock, encodeBlocks, writeBlocks } from './copy-stream.ts'

const folder = mkdtempSync(join(tmpdir(), 'carbonado-copy-'))
afterAll(() => rmSync(folder, { recursive: true }))

const size = 5 * copyBlock + 4096

/** A file with content in its second and last block, and holes between. */
function source(): string {
  const path = join(folder, 'source')
  writeFileSync(path, '')
  truncateSync(path, size)
  const bytes = readFileSync(path)
  bytes.fill('x', copyBlock + 17, copyBlock + 9000)
  bytes.fill('y', size - 100)
  writeFileSync(path, bytes)
  return path
}

function empty(name: string): string {
  const path = join(folder, name)
  writeFileSync(path, '')
  truncateSync(path, size)
  return path
}

async function parts(offset = 0, length = size): Promise<Buffer[]> {
  const all: Buffer[] = []
  for await (const part of encodeBlocks(source(), offset, length)) all.push(part)
  return all
}

/** The same bytes in other parts, as a network gives them. */
async function* sliced(bytes: Buffer, step: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step)
}

describe('a copy of blocks', () => {
  it.each([43, 44, 45, 65_536, 10_000_000])(
    'is the same, in parts of %d bytes or fewer, and as sparse',
    async (step) => {
      const target = empty('target')
      await writeBlocks(sliced(Buffer.concat(await parts()), step), target, { offset: 0, length: size })
      expect(readFileSync(target).equals(readFileSync(source()))).toBe(true)
      expect(statSync(target).blocks * 512).toBeLessThanOrEqual(2 * copyBlock + 4096)
    },
  )

  it('goes on in the middle', async () => {
    const target = empty('resumed')
    for (let offset = 0; offset < size; offset += 2 * copyBlock) {
      const range = { offset, length: Math.min(2 * copyBlock, size - offset) }
      await writeBlocks(sliced(Buffer.concat(await parts(range.offset, range.length)), 1000), target, range)
    }
    expect(readFileSync(target).equals(readFileSync(source()))).toBe(true)
  })

  it('asks how fast it may go for each block, read or written', async () => {
    const asked: number[] = []
    const pace = { isHeld: () => true, after: (bytes: number) => Promise.resolve(void asked.push(bytes)) }
    const target = empty('paced')
    await writeBlocks(encodeBlocks(source(), 0, size, pace), target, { offset: 0, length: size })
    expect(asked).toEqual([...Array<number>(5).fill(copyBlock), 4096]) // zeros are read, too
    await writeBlocks(encodeBlocks(source(), 0, size), target, { offset: 0, length: size }, pace)
    expect(asked.slice(6)).toEqual([copyBlock, 4096]) // and not written
    expect(readFileSync(target).equals(readFileSync(source()))).toBe(true)
  })

  it('that is cut off or changed on the way is an error', async () => {
    const bytes = Buffer.concat(await parts())
    const range = { offset: 0, length: size }
    const whole = (given: Buffer): Promise<void> => writeBlocks(sliced(given, 4096), empty('broken'), range)
    await expect(whole(bytes.subarray(0, bytes.length - 44))).rejects.toThrow('the copy ended at')
    await expect(whole(bytes.subarray(0, bytes.length - 60))).rejects.toThrow('ended within a block')
    const changed = Buffer.from(bytes)
    changed[1000]! ^= 1
    await expect(whole(changed)).rejects.toThrow('the checksum of a block of the copy is wrong')
    const endless = Buffer.from(bytes)
    endless.writeUInt32BE(2 ** 31, 8)
    await expect(whole(endless)).rejects.toThrow('more than')
  })

  it('from a device that ends early is an error', async () => {
    const read = async (): Promise<void> => {
      for await (const _ of encodeBlocks(source(), size - 100, 200));
    }
    await expect(read()).rejects.toThrow('ends at')
  })
})
