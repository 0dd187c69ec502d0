import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import { afterAll, expect, it } from 'vitest'
import { readSuperblock, superblockBytes } from './superblock.ts'

const folder = mkdtempSync(join(tmpdir(), 'superblock-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The first bytes of a file on which a filesystem was really made. */
function headOf(bytes: number, command: string[]): Buffer {
  const file = join(folder, 'device')
  rmSync(file, { force: true })
  writeFileSync(file, '')
  truncateSync(file, bytes)
  execFileSync(command[0]!, [...command.slice(1), file], { stdio: 'ignore' })
  return readFileSync(file).subarray(0, superblockBytes)
}

const size = 320 * 2 ** 20

it('reads what mkfs has made', () => {
  const ext4 = headOf(size, ['mkfs.ext4', '-q', '-F'])
  expect(readSuperblock(ext4)).toEqual({ type: 'ext4', size, isClean: true })
  const small = headOf(2 ** 22, ['mkfs.ext4', '-q', '-F', '-b', '1024'])
  expect(readSuperblock(small)).toEqual({ type: 'ext4', size: 2 ** 22, isClean: true })
  const xfs = headOf(size, ['mkfs.xfs', '-q'])
  expect(readSuperblock(xfs)).toEqual({ type: 'xfs', size, isClean: true })
})

it('sees that ext4 was not unmounted or has errors, and that XFS is half made', () => {
  const ext4 = headOf(2 ** 24, ['mkfs.ext4', '-q', '-F'])
  const dirty = Buffer.from(ext4)
  dirty.writeUInt32LE(dirty.readUInt32LE(1024 + 0x60) | 0x4, 1024 + 0x60)
  expect(readSuperblock(dirty)).toMatchObject({ isClean: false })
  const damaged = Buffer.from(ext4)
  damaged.writeUInt16LE(2, 1024 + 0x3a)
  expect(readSuperblock(damaged)).toMatchObject({ isClean: false })
  const xfs = Buffer.from(headOf(size, ['mkfs.xfs', '-q']))
  xfs.writeUInt8(1, 126)
  expect(readSuperblock(xfs)).toBeUndefined()
})

it('takes nothing else for a filesystem', () => {
  expect(readSuperblock(Buffer.alloc(superblockBytes))).toBeUndefined()
  expect(readSuperblock(Buffer.alloc(100))).toBeUndefined()
  expect(readSuperblock(headOf(2 ** 24, ['mkswap']))).toBeUndefined()
})
