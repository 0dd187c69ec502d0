import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type CgroupIo, type Direction, type IoCounters, type IoLimit } from './cgroup-io.ts'
import { devicesIn, linesOf, writeRule } from './cgroup-v1.ts'

/**
 * The io controller of cgroup v2. A limit binds a cgroup with all below it, so a pod has one for all its containers; the
 * root cannot be limited, and what the kernel does in its name is not.
 */
export class CgroupV2 implements CgroupIo {
  readonly version = 2
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  activate(): void {}

  /** The uppermost cgroup of each consumer; beside them the innermost ones that have used the device. */
  choose(device: string, folders: string[], consumers: string[]): string[] {
    const limitable = folders.filter((folder) => folder !== this.root && existsSync(join(folder, 'io.max')))
    const named = limitable.filter((folder) => consumers.some((consumer) => folder.includes(consumer)))
    const ofConsumers = named.filter((folder) => !named.some((other) => folder.startsWith(`${other}/`)))
    const users = limitable.filter(
      (folder) => !named.includes(folder) && linesOf(join(folder, 'io.stat'), device).length > 0,
    )
    const isOuter = (folder: string): boolean =>
      [...users, ...ofConsumers].some((other) => other.startsWith(`${folder}/`))
    return [...ofConsumers, ...users.filter((folder) => !isOuter(folder))]
  }

  counters(folder: string, device: string): Record<Direction, IoCounters> {
    const [line = ''] = linesOf(join(folder, 'io.stat'), device)
    const of = (key: string): number => Number(new RegExp(` ${key}=(\\d+)`).exec(line)?.[1] ?? 0)
    return {
      read: { operations: of('rios'), bytes: of('rbytes') },
      write: { operations: of('wios'), bytes: of('wbytes') },
    }
  }

  limit(folder: string, device: string, direction: Direction, limit: IoLimit | undefined): void {
    const [letter] = direction
    const value = (number = Infinity): string =>
      Number.isFinite(number) ? `${Math.max(1, Math.round(number))}` : 'max'
    const rule = `${device} ${letter}iops=${value(limit?.operations)} ${letter}bps=${value(limit?.bytes)}`
    writeRule(join(folder, 'io.max'), rule)
  }

  limited(device: string, folders: string[]): string[] {
    return folders.filter((folder) => linesOf(join(folder, 'io.max'), device).length > 0)
  }

  limitedDevices(folder: string): string[] {
    return devicesIn(join(folder, 'io.max'))
  }

  rules(folder: string, device: string, limit?: number): { file: string; rule: string }[] {
    const value = limit ?? 'max'
    const rule = `${device} riops=${value} wiops=${value} rbps=max wbps=max`
    return [{ file: join(folder, 'io.max'), rule }]
  }
}
