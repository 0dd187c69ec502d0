import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, expect, test } from 'vitest'
import type { Plex } from '../../api/index.ts'
import type { Pool } from '../pool-format.ts'
import { copyBlock, copySegment, encodeBlocks } from './copy-stream.ts'
import type { DriveCopies } from './drive-copies.ts'
import { copySnapshot, type CopyParts } from './snapshot-copy.ts'

const folder = mkdtempSync(join(tmpdir(), 'carbonado-snapshot-copy-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Two segments and a bit, with something in each. */
const size = 2 * copySegment + copyBlock

function file(name: string, content: boolean): string {
  const path = join(folder, name)
  writeFileSync(path, '')
  truncateSync(path, size)
  if (!content) return path
  const bytes = readFileSync(path)
  for (let at = 0; at < size; at += copySegment) bytes.fill(`${at} `, at + 5000, at + 9000)
  writeFileSync(path, bytes)
  return path
}

const plexWith = (progress?: number): Plex =>
  ({
    metadata: { name: 'p', uid: 'copy' },
    spec: { size, driveName: 'n2.drive0', source: { uid: 'snapshot', nodeName: 'n1', driveName: 'n1.drive0', size } },
    status: { progress },
  }) as never

/** A pool whose only volume is a file; a second one is not made over it. */
function poolOf(devicePath: string): { pool: Pool; calls: string[] } {
  const calls: string[] = []
  const pool = {
    create: async () => calls.push('create'),
    activate: async () => ({ devicePath }),
    deactivate: async () => calls.push('deactivate'),
  }
  return { pool: pool as never, calls }
}

const copies = { begin: () => ({ isHeld: () => false, after: async () => {} }), end: () => {} } as never as DriveCopies

test('a copy is broken off when the agent is stopped, in the middle of a segment too, and goes on from the last whole one', async () => {
  const [source, target] = [file('source', true), file('target', false)]
  const { pool, calls } = poolOf(target)
  const asked: number[] = []
  let isStopping = false
  const parts: CopyParts = {
    copies,
    isReleased: () => false,
    isStopping: () => isStopping,
    fetch: async (_node, _uid, { offset, length }) => {
      asked.push(offset)
      if (offset === copySegment) isStopping = true
      return Readable.from(encodeBlocks(source, offset, length))
    },
  }
  const told: number[] = []
  const report = async (progress: number): Promise<void> => void told.push(progress)
  await expect(copySnapshot(plexWith(), pool, report, parts)).rejects.toMatchObject({ code: 'Unavailable' })
  expect({ asked, told }).toEqual({ asked: [0, copySegment], told: [copySegment / size] })
  expect(calls).toEqual(['create', 'deactivate'])

  isStopping = false
  asked.length = 0
  const again: CopyParts = { ...parts, fetch: async (_node, _uid, { offset, length }) => {
    asked.push(offset)
    return Readable.from(encodeBlocks(source, offset, length))
  } } // prettier-ignore
  expect(await copySnapshot(plexWith(told[0]), pool, report, again)).toBe(true)
  expect(asked).toEqual([copySegment, 2 * copySegment])
  expect(readFileSync(target).equals(readFileSync(source))).toBe(true)
})
