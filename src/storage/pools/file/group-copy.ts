import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { exec, Unavailable } from '../../../base/index.ts'
import { ioctl, ioctlInThread } from './ioctl.ts'
import { copySubvolume, deleteSubvolumes } from './subvolumes.ts'

/** A subvolume and the name of its copy, both in the pool's folder. */
export interface Copy {
  from: string
  to: string
}

const attempts = 40
const deadline = 120_000

/**
 * Copies subvolumes at one instant. A copy becomes real in a transaction of the filesystem, and everything made real in
 * one transaction is of one instant: what was written and flushed before is in all copies, and what was written after a
 * flush that is not in one of them is in none. So the copies are asked for at once and then looked at: a copy is good
 * when it was made by the last of the transactions, or when its original has not changed since it was made. Are they not
 * all good, they are thrown away and made again. Throws Unavailable when that did not come about.
 */
export async function copyTogether(folder: string, copies: Copy[]): Promise<void> {
  const copy = ({ from, to }: Copy): Promise<void> => copySubvolume(join(folder, from), join(folder, to))
  if (copies.length === 1) return copy(copies[0]!)
  for (let attempt = 0; attempt < attempts; attempt++) {
    const made = await whileCommitting(folder, () => Promise.all(copies.map((each) => tryCopy(folder, each))))
    if (made.every(Boolean) && (await areOfOneInstant(folder, copies))) return
    await discardCopies(folder, copies)
    if (made.every(Boolean)) continue
    for (const each of copies) await copy(each) // for the error that says why
    await discardCopies(folder, copies)
  }
  throw new Unavailable(`no common instant was found for ${copies.length} volumes in ${attempts} attempts`, {
    remedy: 'Try again when there is less load, or take fewer volumes into the group.',
  })
}

/** BTRFS_IOC_SNAP_CREATE_V2 of linux/btrfs.h, with struct btrfs_ioctl_vol_args_v2. */
const snapshotCall = { request: 0x50009417, bytes: 4096, name: 56 } as const

async function tryCopy(folder: string, { from, to }: Copy): Promise<boolean> {
  await using source = await open(join(folder, from))
  await using target = await open(join(folder, dirname(to)))
  const argument = Buffer.alloc(snapshotCall.bytes)
  argument.writeBigInt64LE(BigInt(source.fd), 0)
  argument.write(basename(to), snapshotCall.name)
  return ioctlInThread(target.fd, snapshotCall.request, argument)
}

/**
 * Runs a task while one transaction after the other is being written. Those who want a transaction meanwhile share the
 * next one, which stays open to all of them until the one before is on the drive.
 */
async function whileCommitting<T>(folder: string, task: () => Promise<T>): Promise<T> {
  await using handle = await open(folder)
  let isDone = false
  const committing = (async (): Promise<void> => {
    while (!isDone) {
      await handle.utimes(new Date(), new Date()) // a transaction without a change would not be written
      await exec(['btrfs', 'filesystem', 'sync', folder], { deadline })
    }
  })()
  try {
    return await task()
  } finally {
    isDone = true
    await committing
  }
}

/** Not when one is not found, which was seen once, on a very busy machine, after the kernel had said that it was made. */
async function areOfOneInstant(folder: string, copies: Copy[]): Promise<boolean> {
  if (!copies.every(({ to }) => existsSync(join(folder, to)))) return false
  const made = await Promise.all(copies.map(async ({ to }) => (await transactionsOf(join(folder, to))).madeIn))
  const last = made.reduce((one, other) => (one > other ? one : other))
  const good = copies.map(async ({ from }, index) => {
    return made[index] === last || (await transactionsOf(join(folder, from))).changedIn === made[index]
  })
  return (await Promise.all(good)).every(Boolean)
}

async function discardCopies(folder: string, copies: Copy[]): Promise<void> {
  await deleteSubvolumes(
    folder,
    copies.map(({ to }) => join(folder, to)).filter((path) => existsSync(path)),
  )
}

/** BTRFS_IOC_GET_SUBVOL_INFO of linux/btrfs.h, and where in its answer the transactions stand. */
const subvolumeInfo = { request: 0x81f8943c, bytes: 504, changedIn: 280, madeIn: 352 } as const

/** The transactions that made a subvolume and that changed it last. A copy counts as a change of its original. */
async function transactionsOf(path: string): Promise<{ madeIn: bigint; changedIn: bigint }> {
  await using folder = await open(path)
  const info = Buffer.alloc(subvolumeInfo.bytes)
  ioctl(folder.fd, subvolumeInfo.request, info, `looking at subvolume ${path}`)
  return {
    madeIn: info.readBigUInt64LE(subvolumeInfo.madeIn),
    changedIn: info.readBigUInt64LE(subvolumeInfo.changedIn),
  }
}
