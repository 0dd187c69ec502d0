import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { exec } from '../src/base/index.ts'
import { labPrefix, netnsFolder } from './places.ts'

/**
 * Makes a network namespace that a file keeps alive. Not `ip netns add`: that turns its folder into a shared mount,
 * which would stay behind.
 */
export async function createNetns(path: string): Promise<void> {
  mkdirSync(join(path, '..'), { recursive: true })
  closeSync(openSync(path, 'a'))
  await exec(['unshare', `--net=${path}`, 'ip', 'link', 'set', 'lo', 'up'])
}

/** The files of the lab's network namespaces on the host. */
export function labNetnsFiles(): string[] {
  if (!existsSync(netnsFolder)) return []
  const files = readdirSync(netnsFolder).filter((name) => name.startsWith(`${labPrefix}-`))
  return files.map((name) => join(netnsFolder, name))
}

/** Lets go of a network namespace; the kernel removes it when the last process in it has gone. */
export async function releaseNetns(path: string): Promise<void> {
  await exec(['umount', '--lazy', path]).catch(() => {}) // not mounted when a crash came in between
  try {
    rmSync(path, { force: true })
    rmdirSync(netnsFolder)
  } catch {
    // mounted in this very moment by a command of a killed `lab up`: it is still listed; or other namespaces are there
  }
}
