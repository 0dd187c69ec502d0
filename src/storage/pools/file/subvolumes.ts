import koffi from 'koffi'
import { open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { exec, ExecError, Exhausted, Internal } from '../../../base/index.ts'

/** A snapshot of a volume of many extents under load takes a second; a delete commits once. */
const deadline = 120_000
const exchangeFlag = 2 // RENAME_EXCHANGE of linux/fs.h
const workingDirectory = -100 // AT_FDCWD
const renameat2 = koffi
  .load(null)
  .func('int renameat2(int fromFolder, const char *from, int toFolder, const char *to, unsigned int flags)')

/** Makes an empty subvolume. */
export async function createSubvolume(path: string): Promise<void> {
  await subvolume('create', path)
}

/** Makes a subvolume with the content of another, in constant time. */
export async function copySubvolume(from: string, to: string): Promise<void> {
  await subvolume('snapshot', from, to)
}

/** Removes subvolumes of a filesystem for good; their space comes back in the background. */
export async function deleteSubvolumes(folder: string, paths: string[]): Promise<void> {
  if (paths.length === 0) return
  await subvolume('delete', ...paths)
  // Commits, and wakes what frees the space, which else sleeps half a minute.
  await exec(['btrfs', 'filesystem', 'sync', folder], { deadline })
}

async function subvolume(...args: string[]): Promise<void> {
  await exec(['btrfs', '--quiet', 'subvolume', ...args], { deadline })
}

/** Swaps what two names stand for, at once. */
export async function exchange(one: string, other: string): Promise<void> {
  const result = renameat2(workingDirectory, one, workingDirectory, other, exchangeFlag) as number
  if (result !== 0) throw new Internal(`exchanging ${one} and ${other} failed with errno ${koffi.errno()}`)
}

/** Renames within a folder, and has that on the drive before it returns. */
export async function renameDurably(folder: string, from: string, to: string): Promise<void> {
  await rename(join(folder, from), join(folder, to))
  await syncFolder(folder)
}

/** Has a folder's names on the drive. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path)
  await folder.sync()
}

/** Names in a folder that begin so. */
export async function namesWith(folder: string, prefix: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.startsWith(prefix))
}

/** Turns the words for a full drive, of programs and system calls, into Exhausted. */
export function asSpaceError(error: unknown): unknown {
  const isFull =
    (error as NodeJS.ErrnoException).code === 'ENOSPC' ||
    (error instanceof ExecError && error.stderr.includes('No space left on device'))
  if (!isFull) return error
  return new Exhausted('the pool is full', {
    remedy: 'Delete snapshots or volumes, or use another drive.',
    cause: error,
  })
}
