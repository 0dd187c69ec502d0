import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FilesystemType } from '../../../api/index.ts'
import { Conflict, exec, ExecError, Internal } from '../../../base/index.ts'
import { deviceSize, numberText } from '../../device-number.ts'
import { formatCommand } from './mount-options.ts'
import { mountAt, parseMountTable, type MountEntry } from './mount-table.ts'
import { mountUsers } from './mount-users.ts'
import type { DeviceContent, PathKind } from './publish-decision.ts'
import { pathKind } from './publish-path.ts'
import { readSuperblock, superblockBytes } from './superblock.ts'

/** What publishing does to the kernel, and sees of it. Each change may be repeated when its step is decided again. */
export interface PublishSystem {
  mounts(): MountEntry[]
  pathKind(path: string): PathKind
  /** `major:minor` of the block device at a path; undefined when there is none. */
  deviceNumber(path: string): string | undefined
  /** Bytes of a device. */
  deviceSize(device: string): number
  content(device: string): Promise<DeviceContent>
  /** Makes a filesystem on a device, whatever is there. */
  format(device: string, type: FilesystemType): Promise<void>
  /** Mends what an unclean unmount left on ext4; throws Conflict for what only a person can decide, and while it is in use. */
  check(device: string): Promise<void>
  /** Enlarges ext4 that is not mounted. */
  growUnmounted(device: string): Promise<void>
  growMounted(device: string, type: FilesystemType, path: string): Promise<void>
  mount(device: string, path: string, type: FilesystemType, options: string[]): Promise<void>
  bind(source: string, target: string): Promise<void>
  makeReadOnly(target: string): Promise<void>
  /** Throws Conflict while it is in use. */
  unmount(path: string): Promise<void>
  makeFolder(path: string): void
  makeFile(path: string): void
  /** Removes an empty folder or an empty file. */
  remove(path: string): void
}

/** Milliseconds for programs that read or write much of a device. */
const longDeadline = 600_000

/** Milliseconds for which a mount that is to go, or a device that is to be checked or mounted, may be in use. */
const busyPatience = 2_000

/** Bytes at both ends of a device that are zero when nothing was ever written there. */
const looked = 2 ** 20

/** The kernel of this node, by the programs of util-linux, e2fsprogs and xfsprogs. */
export const kernelPublishSystem: PublishSystem = {
  mounts: () => parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8')),
  pathKind,
  deviceNumber: (path) => numberOf(path),
  deviceSize,
  content: readContent,
  format: async (device, type) => void (await exec(formatCommand(type, device), { deadline: longDeadline })),
  check: (device) => preen(device, []),
  async growUnmounted(device) {
    await preen(device, ['-f']) // resize2fs asks for it
    await exec(['resize2fs', device], { deadline: longDeadline })
  },
  async growMounted(device, type, path) {
    await exec(type === 'xfs' ? ['xfs_growfs', '-d', path] : ['resize2fs', device], { deadline: longDeadline })
  },
  mount: (device, path, type, options) =>
    untilFree(device, () =>
      exec(['mount', '-t', type, '-o', options.join(','), device, path], { deadline: longDeadline }),
    ),
  bind: async (source, target) => void (await exec(['mount', '--bind', source, target])),
  makeReadOnly: async (target) => void (await exec(['mount', '-o', 'remount,bind,ro', target])),
  unmount,
  makeFolder: (path) => ignoring('EEXIST', () => mkdirSync(path, { mode: 0o750 })),
  makeFile: (path) => ignoring('EEXIST', () => writeFileSync(path, '', { flag: 'wx', mode: 0o640 })),
  remove: (path) => ignoring('ENOENT', () => (pathKind(path) === 'empty folder' ? rmdirSync(path) : unlinkSync(path))),
}

function numberOf(path: string): string | undefined {
  const entry = statSync(path, { throwIfNoEntry: false })
  return entry?.isBlockDevice() ? numberText(entry.rdev) : undefined
}

async function readContent(device: string): Promise<DeviceContent> {
  const found = readSuperblock(readBytes(device, 0, superblockBytes))
  if (found) return found
  const probed = await probe(device)
  if (probed !== undefined) return { other: probed }
  const end = deviceSize(device)
  const ends = [readBytes(device, 0, looked), readBytes(device, Math.max(0, end - looked), looked)]
  return ends.every(isZero) ? 'blank' : { other: 'bytes that belong to no filesystem that is known' }
}

/** What blkid finds, past its cache; undefined: nothing. It exits with 2 for that, and with 8 when it is in doubt. */
async function probe(device: string): Promise<string | undefined> {
  try {
    const { stdout } = await exec(['blkid', '--probe', '--output', 'export', device])
    return /^TYPE=(.*)$/m.exec(stdout)?.[1] ?? /^PTTYPE=(.*)$/m.exec(stdout)?.[1] ?? stdout.trim().slice(0, 100)
  } catch (error) {
    if (error instanceof ExecError && error.exitCode === 2) return undefined
    if (error instanceof ExecError && error.exitCode === 8) return 'signatures of more than one kind'
    throw error
  }
}

function readBytes(device: string, offset: number, length: number): Buffer {
  const file = openSync(device, 'r')
  try {
    const bytes = Buffer.alloc(length)
    return bytes.subarray(0, readSync(file, bytes, 0, length, offset))
  } finally {
    closeSync(file)
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.equals(Buffer.alloc(bytes.length))
}

/** e2fsck exits with 0 for clean, 1 and 2 for mended; 4 and above it left something, and with 8 it did not begin. */
async function preen(device: string, options: string[]): Promise<void> {
  try {
    await untilFree(device, () => exec(['e2fsck', '-p', ...options, device], { deadline: longDeadline }))
  } catch (error) {
    if (!(error instanceof ExecError) || error.exitCode === null) throw error
    if (error.exitCode < 4) return
    throw new Conflict(`the filesystem has damage that is not mended by itself: ${lastLine(error)}`, {
      remedy: 'Attach the volume and run e2fsck by hand, or restore a snapshot.',
      cause: error,
    })
  }
}

async function unmount(path: string): Promise<void> {
  try {
    await untilFree(path, () => exec(['umount', path], { deadline: longDeadline }))
  } catch (error) {
    if (!(error instanceof ExecError)) throw error
    if (/not mounted|no mount point/.test(error.stderr)) return requireUncovered(path, error)
    throw new Internal(`${path} cannot be unmounted: ${lastLine(error)}`, { cause: error })
  }
}

/** What is still in the table cannot be reached, and asking for its unmount again would go on for ever. */
function requireUncovered(path: string, cause: ExecError): void {
  if (!mountAt(path, kernelPublishSystem.mounts())) return
  throw new Conflict(`what is mounted at ${path} is covered by another mount at a folder above it`, {
    remedy: 'Unmount that one first; findmnt shows it.',
    cause,
  })
}

/**
 * Runs a program again while the path or device is in use, for a while. What uses it only for a moment, such as the resize2fs
 * of an agent that was killed, or somebody who opens a device for himself alone to see whether he could, is waited for.
 */
async function untilFree(path: string, run: () => Promise<unknown>): Promise<void> {
  const giveUp = performance.now() + busyPatience
  for (;;) {
    try {
      await run()
      return
    } catch (error) {
      if (!(error instanceof ExecError) || !saysInUse(error)) throw error
      if (performance.now() > giveUp) throw inUse(path, error)
    }
    await sleep(100)
  }
}

/** As umount and mount say it, and e2fsck, which says much else of what is in use on a device. */
function saysInUse({ exitCode, stderr, stdout }: ExecError): boolean {
  return stderr.includes('busy') || (exitCode === 8 && / is (?:mounted|in use)\.$/m.test(stdout + stderr))
}

function inUse(path: string, cause: ExecError): Conflict {
  const users = mountUsers(path)
  const who = users.length === 0 ? '' : ` by ${users.slice(0, 3).join(', ')}${users.length > 3 ? ' and others' : ''}`
  return new Conflict(`${path} is in use${who}`, { remedy: 'Stop what uses it.', cause })
}

function lastLine({ stderr, stdout }: ExecError): string {
  return (stderr || stdout).trim().split('\n').at(-1) ?? ''
}

function ignoring(code: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== code) throw error
  }
}
