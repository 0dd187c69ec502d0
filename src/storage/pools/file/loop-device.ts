import { readdirSync, readFileSync } from 'node:fs'
import { constants, open, stat, type FileHandle } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { Conflict, Internal, Unavailable } from '../../../base/index.ts'
import { ioctl, IoctlError } from './ioctl.ts'

/** Requests of linux/loop.h. */
const request = {
  clearDescriptor: 0x4c01,
  setStatus: 0x4c04,
  getStatus: 0x4c05,
  setCapacity: 0x4c07,
  configure: 0x4c0a,
  getFree: 0x4c82,
} as const

const flag = { readOnly: 1, autoclear: 4, directIo: 16 } as const

/** struct loop_config: descriptor and block size, then struct loop_info64, then reserved. */
const layout = { configBytes: 304, infoBytes: 232, infoInConfig: 8, device: 0, inode: 8, flags: 52 } as const

/** A loop device that has a file behind it. */
export interface LoopDevice {
  devicePath: string
  /** The file behind it: device number and inode, as stat gives them. */
  device: bigint
  inode: bigint
  readOnly: boolean
}

const attemptsForFree = 64
const attemptsToDetach = 50
/** Milliseconds. */
const attemptInterval = 30

/**
 * Puts a loop device with direct I/O over a file. Throws Unavailable when no device is free, Internal when the file's
 * filesystem does no direct I/O with such sectors (the kernel would silently take the page cache instead).
 */
export async function attachLoop(path: string, options: { sectorSize: number; readOnly: boolean }): Promise<string> {
  const mode = (options.readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_DIRECT
  await using file = await open(path, mode)
  const config = Buffer.alloc(layout.configBytes)
  config.writeUInt32LE(file.fd, 0)
  config.writeUInt32LE(options.sectorSize, 4)
  const flags = flag.directIo | (options.readOnly ? flag.readOnly : 0)
  config.writeUInt32LE(flags, layout.infoInConfig + layout.flags)
  const name = await configureFree(config)
  const devicePath = `/dev/${name}`
  if (readFileSync(`/sys/block/${name}/loop/dio`, 'utf8').trim() === '1') return devicePath
  const loop = await describeLoop(devicePath)
  if (loop) await detachLoop(loop)
  throw new Internal(`${path} cannot be read and written directly in sectors of ${options.sectorSize} bytes`)
}

/** Takes a free device, or has the kernel make one; another process may be faster, so more than once. */
async function configureFree(config: Buffer): Promise<string> {
  await using control = await open('/dev/loop-control', constants.O_RDWR)
  for (let attempt = 0; attempt < attemptsForFree; attempt++) {
    const name = `loop${ioctl(control.fd, request.getFree, null, 'finding a free loop device')}`
    await using device = await open(`/dev/${name}`, constants.O_RDWR)
    try {
      ioctl(device.fd, request.configure, config, `setting up /dev/${name}`)
      return name
    } catch (error) {
      if (!(error instanceof IoctlError && error.code === 'EBUSY')) throw error
    }
  }
  throw new Unavailable(`no loop device was free in ${attemptsForFree} attempts`, { remedy: 'Try again.' })
}

/**
 * Removes the device, unless it has gone and its number is that of another one now. Throws Conflict while something has it
 * open; it then stays as it was. Programs that only look at new devices have it open for a moment, so there are several
 * attempts.
 */
export async function detachLoop(loop: LoopDevice): Promise<void> {
  for (let attempt = 1; !(await tryDetach(loop)); attempt++) {
    if (attempt < attemptsToDetach) await setTimeout(attemptInterval)
    else throw new Conflict(`${loop.devicePath} is open`, { remedy: 'Unmount it or stop what uses it.' })
  }
}

/** False: something has it open. */
async function tryDetach({ devicePath, device: fileSystem, inode }: LoopDevice): Promise<boolean> {
  await using device = await open(devicePath, constants.O_RDONLY) // while it is open it gets no other file
  const now = status(device)
  if (now === undefined || deviceOf(now) !== fileSystem || inodeOf(now) !== inode) return true
  if (!(await canBeOpenedExclusively(devicePath))) return false
  if (!tryIoctl(device, request.clearDescriptor)) return true
  // With other openers the kernel only remembers to remove it when the last of them closes it, and says nothing.
  const info = status(device)
  if (info === undefined) return true
  info.writeUInt32LE(info.readUInt32LE(layout.flags) & ~flag.autoclear, layout.flags)
  ioctl(device.fd, request.setStatus, info, `keeping ${devicePath}`)
  return false
}

/** Not while it is mounted, or held by another part of the kernel. */
async function canBeOpenedExclusively(devicePath: string): Promise<boolean> {
  try {
    await (await open(devicePath, constants.O_RDONLY | constants.O_EXCL)).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false
    throw error
  }
}

/** False: the device had no file behind it. */
function tryIoctl(device: FileHandle, what: number): boolean {
  try {
    ioctl(device.fd, what, null, 'removing a loop device')
    return true
  } catch (error) {
    if (error instanceof IoctlError && error.code === 'ENXIO') return false
    throw error
  }
}

const deviceOf = (info: Buffer): bigint => info.readBigUInt64LE(layout.device)
const inodeOf = (info: Buffer): bigint => info.readBigUInt64LE(layout.inode)

function status(device: FileHandle): Buffer | undefined {
  const info = Buffer.alloc(layout.infoBytes)
  try {
    ioctl(device.fd, request.getStatus, info, 'asking a loop device')
    return info
  } catch (error) {
    if (error instanceof IoctlError && error.code === 'ENXIO') return undefined
    throw error
  }
}

/** Makes the device as large as its file is now. */
export async function updateLoopCapacity(devicePath: string): Promise<void> {
  await using device = await open(devicePath, constants.O_RDONLY)
  ioctl(device.fd, request.setCapacity, null, `resizing ${devicePath}`)
}

/**
 * The loop device over a file. Only one whose file has such a name is opened: a device that somebody else is about to
 * remove would, while we have it open, not go.
 */
export async function loopOver(path: string, names: LoopNames = loopNames()): Promise<LoopDevice | undefined> {
  const file = await stat(path, { bigint: true })
  for (const name of names.get(pathEnd(path)) ?? []) {
    const device = await describeLoop(`/dev/${name}`)
    if (device?.device === file.dev && device.inode === file.ino) return device
  }
  return undefined
}

/** Names of loop devices by the ends of the paths of their files. */
export type LoopNames = Map<string, string[]>

/** The file behind a loop device as the kernel names it; undefined when there is none. */
export function backingFileOf(name: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim()
  } catch (error) {
    if (isMissing(error)) return undefined // it has no file, or it has gone meanwhile
    throw error
  }
}

/** All loop devices that have a file. */
export function loopNames(): LoopNames {
  const found: LoopNames = new Map()
  for (const name of readdirSync('/sys/block').filter((each) => each.startsWith('loop'))) {
    const file = backingFileOf(name)
    if (file === undefined) continue
    const end = pathEnd(file)
    found.set(end, [...(found.get(end) ?? []), name])
  }
  return found
}

/** A file and its folder. What is before them differs between mount namespaces, and is gone with the one that mounted it. */
function pathEnd(path: string): string {
  return path.split('/').slice(-2).join('/')
}

/** What is behind a device; undefined when it has gone meanwhile. */
export async function describeLoop(devicePath: string): Promise<LoopDevice | undefined> {
  try {
    await using device = await open(devicePath, constants.O_RDONLY)
    const info = status(device)
    if (info === undefined) return undefined
    return {
      devicePath,
      device: deviceOf(info),
      inode: inodeOf(info),
      readOnly: (info.readUInt32LE(layout.flags) & flag.readOnly) !== 0,
    }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENXIO', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')
}
