import { closeSync, existsSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { damaged } from './damage.ts'

/*
 * SQLite reads its write-ahead log up to the first frame whose checksum is wrong and takes that for its end, because
 * after a power failure it may well be. A damaged frame in the middle would so take back every later commit, and nobody
 * would be told. So it is noted beside the log how far it was flushed: a log that ends before that is damaged.
 */

/** Layout of the file header and frame header: sqlite.org/fileformat2.html#walformat. */
const headerSize = 32
const frameHeaderSize = 24
const saltsOffset = 16
/** Layout of the header of the index of the log (SQLite's wal.c, struct WalIndexHdr): last frame and salts. */
const indexHeader = { size: 48, lastFrame: 16, salts: 32 }
const noteSize = 16

/** How far a log was flushed: a number of frames, of the log that began with these salts. */
interface Note {
  salts: Buffer
  frames: number
}

/** Notes beside a log how far it was flushed. The note itself is not flushed: one that is older than the truth does no harm. */
export class FlushNote {
  readonly #index: number
  readonly #note: number

  /** `file` is that of the store, which must be open. */
  constructor(file: string) {
    this.#index = openSync(`${file}-shm`, 'r')
    this.#note = openSync(noteOf(file), 'w', 0o600)
  }

  /** How far the log goes now; pass it to `write` when a flush that began afterwards has ended. */
  read(): Note {
    const header = Buffer.alloc(indexHeader.size)
    readSync(this.#index, header, 0, header.length, 0)
    const frames = header.readUInt32LE(indexHeader.lastFrame)
    return { salts: header.subarray(indexHeader.salts, indexHeader.salts + 8), frames }
  }

  write({ salts, frames }: Note): void {
    const text = Buffer.alloc(noteSize)
    salts.copy(text)
    text.writeUInt32LE(frames, 8)
    text.writeUInt32LE(crc32(text.subarray(0, 12)), 12)
    try {
      writeSync(this.#note, text, 0, noteSize, 0)
    } catch {
      // a full disk: the note is older than the truth
    }
  }

  /** Gives back its files; the note itself stays for as long as the log does (`closeWithLog`). */
  close(): void {
    closeSync(this.#index)
    closeSync(this.#note)
  }
}

/** The file in which it is noted how far the log of a store was flushed. */
function noteOf(file: string): string {
  return `${file}-flushed`
}

/**
 * Closes a store file that was open for writing. Whoever is the last to close it has SQLite remove the log, and a note
 * without its log would accuse it. So the note goes first, once all of the log is in the file: then it says nothing any
 * more, and the process may die in between. A log that cannot be brought in stays, and so does its note.
 */
export function closeWithLog(connection: DatabaseSync, file: string): void {
  if (bringIn(connection)) removeNote(file)
  connection.close()
  if (!existsSync(`${file}-wal`)) removeNote(file) // SQLite could bring it in after all
}

/** Whether all of the log is in the file now, and on the disk with it. */
function bringIn(connection: DatabaseSync): boolean {
  try {
    const row = connection.prepare('PRAGMA wal_checkpoint(PASSIVE)').get()
    const { busy, log, checkpointed } = row as { busy: number; log: number; checkpointed: number }
    return busy === 0 && log >= 0 && log === checkpointed
  } catch {
    return false
  }
}

function removeNote(file: string): void {
  try {
    rmSync(noteOf(file), { force: true })
  } catch {
    // a disk that is read-only keeps the log as well
  }
}

/** Throws Internal when the log of a store, which nobody has open, lacks what was flushed once. */
export function checkLog(file: string): void {
  const note = readNote(noteOf(file))
  if (!note || note.frames === 0) return
  const log = existsSync(`${file}-wal`) ? readFileSync(`${file}-wal`) : Buffer.alloc(0)
  const whole = countFrames(log)
  if (whole === undefined) throw lacks(file, 'its log has no valid beginning')
  if (!log.subarray(saltsOffset, saltsOffset + 8).equals(note.salts)) return // begun anew since: all was in the file
  if (whole >= note.frames) return
  throw lacks(file, `only ${whole} of the ${note.frames} frames that its log had are whole`)
}

function lacks(file: string, found: string): Error {
  return damaged(
    file,
    found,
    undefined,
    `Keep a copy of the folder. Restore the last backup with \`control restore\`, or remove ${noteOf(file)} to go on ` +
      'with the state before the damage: then later changes are lost.',
  )
}

function readNote(path: string): Note | undefined {
  if (!existsSync(path)) return undefined
  const text = readFileSync(path)
  if (text.length !== noteSize || text.readUInt32LE(12) !== crc32(text.subarray(0, 12))) return undefined
  return { salts: text.subarray(0, 8), frames: text.readUInt32LE(8) }
}

/** How many frames from the beginning are whole and belong together; undefined when the header is not whole. */
function countFrames(log: Buffer): number | undefined {
  if (log.length < headerSize) return undefined
  const isBigEndian = (log.readUInt32BE(0) & 1) === 1
  const sum: Sum = [0, 0]
  addTo(sum, log, 0, 24, isBigEndian)
  if (!isSum(sum, log, 24)) return undefined
  const frameSize = frameHeaderSize + (log.readUInt32BE(8) === 1 ? 65_536 : log.readUInt32BE(8))
  const salts = log.subarray(saltsOffset, saltsOffset + 8)
  for (let frames = 0, at = headerSize; ; frames++, at += frameSize) {
    if (at + frameSize > log.length || !log.subarray(at + 8, at + 16).equals(salts)) return frames
    addTo(sum, log, at, 8, isBigEndian)
    addTo(sum, log, at + frameHeaderSize, frameSize - frameHeaderSize, isBigEndian)
    if (!isSum(sum, log, at + 16)) return frames
  }
}

type Sum = [number, number]

function addTo(sum: Sum, log: Buffer, from: number, length: number, isBigEndian: boolean): void {
  const word = (at: number): number => (isBigEndian ? log.readUInt32BE(at) : log.readUInt32LE(at))
  for (let at = from; at < from + length; at += 8) {
    sum[0] = (sum[0] + word(at) + sum[1]) >>> 0
    sum[1] = (sum[1] + word(at + 4) + sum[0]) >>> 0
  }
}

function isSum(sum: Sum, log: Buffer, at: number): boolean {
  return sum[0] === log.readUInt32BE(at) && sum[1] === log.readUInt32BE(at + 4)
}
