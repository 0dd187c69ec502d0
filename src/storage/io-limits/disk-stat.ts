import { readFileSync, writeFileSync } from 'node:fs'
import { sysfsFolder } from '../device-number.ts'

/** What a block device has done since it exists. */
export interface DiskStat {
  operations: number
  bytes: number
  /** Milliseconds that operations took, added up over all of them. */
  busy: number
  /** Under way at this moment. */
  inFlight: number
}

/** A block device as the kernel numbers and counts it. */
export interface KernelDisk {
  /** MAJOR:MINOR. */
  number: string
  statFile: string
  /** Whether the kernel counts what it does: `1` or `0`. */
  countingFile: string
}

const bytesPerSector = 512

/** The kernel's own view of a device; undefined when there is none at the path. */
export function findDisk(devicePath: string): KernelDisk | undefined {
  try {
    const folder = sysfsFolder(devicePath)
    const number = readFileSync(`${folder}/dev`, 'utf8').trim()
    return { number, statFile: `${folder}/stat`, countingFile: `${folder}/queue/iostats` }
  } catch {
    return undefined
  }
}

/**
 * Has the kernel count what a device does: somebody may have switched that off, also for a loop device that was another's
 * before, and a device that is not counted looks idle.
 */
export function startCounting({ countingFile }: KernelDisk): void {
  try {
    if (readFileSync(countingFile, 'utf8').trim() !== '1') writeFileSync(countingFile, '1')
  } catch {
    // it has gone, or has no such switch and is counted
  }
}

/** Reads the counters of a device; undefined when it has gone. */
export function readDiskStat(file: string): DiskStat | undefined {
  try {
    return parseDiskStat(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** Takes a line of /sys/block/DEVICE/stat apart; discards are no operations, because they move nothing. */
export function parseDiskStat(text: string): DiskStat {
  const fields = text.trim().split(/\s+/).map(Number)
  const [reads, , readSectors, readTime, writes, , writtenSectors, writeTime, inFlight] = fields as number[]
  return {
    operations: reads! + writes!,
    bytes: (readSectors! + writtenSectors!) * bytesPerSector,
    busy: readTime! + writeTime!,
    inFlight: inFlight!,
  }
}
