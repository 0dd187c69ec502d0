import { readdirSync, readFileSync, statSync, type Stats } from 'node:fs'

/**
 * Programs that use the block device at a path, or the filesystem that is mounted there, as `name (pid)`: who has it or a file
 * of it open, or works in it. What uses it in the kernel, such as a loop device on one of its files, is not among them.
 */
export function mountUsers(path: string): string[] {
  const used = quietly(() => statSync(path))
  if (used === undefined) return []
  const isUsed = (entry: Stats): boolean =>
    used.isBlockDevice() ? entry.isBlockDevice() && entry.rdev === used.rdev : entry.dev === used.dev
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return processes.filter((pid) => uses(pid, isUsed)).map((pid) => `${nameOf(pid)} (${pid})`)
}

function uses(pid: string, isUsed: (entry: Stats) => boolean): boolean {
  const open = quietly(() => readdirSync(`/proc/${pid}/fd`)) ?? []
  const links = ['cwd', 'root', 'exe', ...open.map((name) => `fd/${name}`)]
  return links.some((link) => quietly(() => isUsed(statSync(`/proc/${pid}/${link}`))) ?? false)
}

function nameOf(pid: string): string {
  return quietly(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? '?'
}

/** Processes and what they have open go at any moment. */
function quietly<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
