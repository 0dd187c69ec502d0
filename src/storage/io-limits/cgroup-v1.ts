import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { directions, type CgroupIo, type Direction, type IoCounters, type IoLimit } from './cgroup-io.ts'

/** 0 removes a limit, so that none is below 1. */
const least = 1

/**
 * The blkio controller of cgroup v1. A limit binds the processes of that very cgroup and none below it, so every cgroup
 * that uses a device has a limit of its own; the root's binds writeback and the journals of filesystems, which the
 * kernel does itself.
 */
export class CgroupV1 implements CgroupIo {
  readonly version = 1
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /** Nothing is counted on a device before the first limit that is set, or removed, on it. */
  activate(device: string): void {
    writeRule(limitFile(this.root, 'read', 'iops'), `${device} 0`)
  }

  choose(device: string, folders: string[], consumers: string[]): string[] {
    return folders.filter(
      (folder) =>
        folder === this.root ||
        consumers.some((consumer) => folder.includes(consumer)) ||
        linesOf(join(folder, 'blkio.throttle.io_serviced'), device).length > 0,
    )
  }

  counters(folder: string, device: string): Record<Direction, IoCounters> {
    const operations = linesOf(join(folder, 'blkio.throttle.io_serviced'), device)
    const bytes = linesOf(join(folder, 'blkio.throttle.io_service_bytes'), device)
    const of = (lines: string[], what: string): number =>
      Number(lines.find((line) => line.includes(` ${what} `))?.split(' ')[2] ?? 0)
    return {
      read: { operations: of(operations, 'Read'), bytes: of(bytes, 'Read') },
      write: { operations: of(operations, 'Write'), bytes: of(bytes, 'Write') },
    }
  }

  limit(folder: string, device: string, direction: Direction, limit: IoLimit | undefined): void {
    const value = (number: number): number => Math.max(least, Math.round(number))
    writeRule(limitFile(folder, direction, 'iops'), `${device} ${limit ? value(limit.operations) : 0}`)
    const bytes = limit && Number.isFinite(limit.bytes) ? value(limit.bytes) : 0
    writeRule(limitFile(folder, direction, 'bps'), `${device} ${bytes}`)
  }

  limited(device: string, folders: string[]): string[] {
    return folders.filter((folder) =>
      directions.some((direction) =>
        (['iops', 'bps'] as const).some((unit) => linesOf(limitFile(folder, direction, unit), device).length > 0),
      ),
    )
  }

  limitedDevices(folder: string): string[] {
    const files = directions.flatMap((direction) =>
      (['iops', 'bps'] as const).map((unit) => limitFile(folder, direction, unit)),
    )
    return [...new Set(files.flatMap(devicesIn))]
  }

  rules(folder: string, device: string, limit = 0): { file: string; rule: string }[] {
    return directions.flatMap((direction) => [
      { file: limitFile(folder, direction, 'iops'), rule: `${device} ${limit}` },
      { file: limitFile(folder, direction, 'bps'), rule: `${device} 0` },
    ])
  }
}

function limitFile(folder: string, direction: Direction, unit: 'iops' | 'bps'): string {
  return join(folder, `blkio.throttle.${direction}_${unit}_device`)
}

/** Lines of a file that are about a device; none when there is no such file any more. */
export function linesOf(file: string, device: string): string[] {
  try {
    const text = readFileSync(file, 'utf8')
    if (!text.includes(device)) return []
    return text.split('\n').filter((line) => line.startsWith(`${device} `))
  } catch {
    return []
  }
}

/** Devices that lines of a file begin with; none when there is no such file any more. */
export function devicesIn(file: string): string[] {
  try {
    return [...readFileSync(file, 'utf8').matchAll(/^\d+:\d+(?= )/gm)].map(([device]) => device)
  } catch {
    return []
  }
}

/** Writes into a file of a cgroup, or of a device, that may have gone. Throws whatever else is wrong. */
export function writeRule(file: string, rule: string): void {
  try {
    writeFileSync(file, rule)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') return
    throw new Error(`${basename(file)} does not take "${rule}": ${(error as Error).message}`, { cause: error })
  }
}
