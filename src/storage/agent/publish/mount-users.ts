import { readdirSync, readFileSync, statSync } from 'node:fs'

/**
 * Programs that use the filesystem that is mounted at a path, as `name (pid)`: who has a file of it open, or works in it.
 * What uses it in the kernel, such as a loop device on one of its files, is not among them.
 */
export function mountUsers(path: string): string[] {
  const device = quietly(() => statSync(path).dev)
  if (device === undefined) return []
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return processes.filter((pid) => uses(pid, device)).map((pid) => `${nameOf(pid)} (${pid})`)
}

function uses(pid: string, device: number): boolean {
  const open = quietly(() => readdirSync(`/proc/${pid}/fd`)) ?? []
  const links = ['cwd', 'root', 'exe', ...open.map((name) => `fd/${name}`)]
  return links.some((link) => quietly(() => statSync(`/proc/${pid}/${link}`).dev) === device)
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
