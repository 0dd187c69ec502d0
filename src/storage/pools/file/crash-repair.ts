import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deleteSubvolumes, namesWith, renameDurably, syncFolder } from './subvolumes.ts'

const makingPrefix = 'making.'
const groupPrefix = 'group.'

/**
 * Where an entry is until it is whole. In a folder of its own, because the filesystem makes only one subvolume at a time
 * in a folder, and the copies of a group are made together.
 */
export function making(name: string): string {
  return `${makingPrefix}${name}/${name}`
}

/** Makes that place, empty. */
export async function prepareMaking(folder: string, name: string): Promise<void> {
  if (existsSync(join(folder, making(name)))) await deleteSubvolumes(folder, [join(folder, making(name))])
  await mkdir(join(folder, makingPrefix + name), { recursive: true })
}

/** Removes that place with what is in it. */
export async function discardMaking(folder: string, name: string): Promise<void> {
  await deleteSubvolumes(folder, [join(folder, making(name))])
  await rmdir(join(folder, makingPrefix + name))
}

/** Gives a whole entry its own name; on the drive when it returns. */
export async function commit(folder: string, name: string): Promise<void> {
  await renameDurably(folder, making(name), name)
  await rmdir(join(folder, makingPrefix + name)) // a crash may bring it back, for the next open to remove
}

/**
 * Gives the members of a group their own names, all or none: a list of them, put in place by a rename, is the commit;
 * what is left to do after a crash is done by `finishGroups`.
 */
export async function commitGroup(folder: string, names: string[]): Promise<void> {
  const list = `${groupPrefix}${names[0]}`
  await writeFile(join(folder, makingPrefix + list), JSON.stringify(names), { flush: true })
  await renameDurably(folder, makingPrefix + list, list)
  await finishGroup(folder, list)
}

/** Completes the groups whose commit was there before the crash. */
export async function finishGroups(folder: string): Promise<void> {
  for (const list of await namesWith(folder, groupPrefix)) await finishGroup(folder, list)
}

async function finishGroup(folder: string, list: string): Promise<void> {
  const names = JSON.parse(await readFile(join(folder, list), 'utf8')) as string[]
  const left = names.filter((name) => existsSync(join(folder, making(name))))
  for (const name of left) await rename(join(folder, making(name)), join(folder, name))
  await syncFolder(folder)
  for (const name of left) await rmdir(join(folder, makingPrefix + name))
  await rm(join(folder, list))
  await syncFolder(folder)
}

/** Removes what a crash left half-made, and what a restore replaced. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await namesWith(folder, makingPrefix)) {
    const path = join(folder, name)
    if (name.startsWith(makingPrefix + groupPrefix)) await rm(path)
    else {
      await deleteSubvolumes(
        folder,
        (await readdir(path)).map((entry) => join(path, entry)),
      )
      await rmdir(path)
    }
  }
}
