import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { exec } from '../src/base/index.ts'
import { backingFileOf } from '../src/storage/pools/file/loop-device.ts'
import { makeLabCgroup } from './cgroups.ts'
import { artefacts, labDirectory, nodePlaces, nodePools, places, poolsFolder } from './places.ts'
import { joiningCgroup, startDaemon, waitFor } from './processes.ts'
import { isMachineRunning, machinePid, readLabState } from './state.ts'

/** A loop device that has a file, and the path of that file as far as its mount is still there. */
export interface LoopDevice {
  devicePath: string
  file: string
}

/** What a drive is to be; `iops` null is as fast as the machine's disk. */
export interface DriveShape {
  bytes: number
  iops: number | null
}

/** Bytes that a drive with a speed of its own moves in the time of one operation. */
const bytesPerOperation = 64 * 1024

/** Plugs the drive of a node in: a loop device on a sparse file, which the node finds under a path of its own. */
export async function plugDrive(node: string, machinePid: number, { bytes, iops }: DriveShape): Promise<void> {
  const image = iops === null ? sparseFile(places.driveImage(node), bytes) : await pacedDrive(node, bytes, iops)
  const path = join('/proc', String(machinePid), 'root', nodePlaces.drive)
  mkdirSync(dirname(path), { recursive: true })
  rmSync(path, { force: true })
  symlinkSync(deviceOf(image) ?? (await attach(image)), path)
}

/**
 * Has the devices of volumes on a node removed as soon as nothing uses them any more. Before its power is cut: afterwards
 * their files belong to no mount that could be told from others, and they would keep its drive in use.
 */
export async function dropVolumeDevices(node: string): Promise<void> {
  await detach(volumeDevices(loopDevices(), nodePools(node), entriesOf(node)))
}

/**
 * Has those devices of volumes removed whose nodes were killed without that: their files belong to no mount any more, and
 * keep the pool on the drive open. It is looked into once more for the entries that are theirs.
 */
export async function dropAbandonedVolumeDevices(): Promise<void> {
  for (const { devicePath } of driveDevices(loopDevices())) {
    if (!hasOpenPool(devicePath)) continue
    const entries = await entriesOn(devicePath).catch(() => []) // it has just been closed, or fails: the caller looks again
    await detach(volumeDevices(loopDevices(), poolsFolder, entries))
  }
}

/** Loop devices of the lab: those of volumes, then those of its drives. */
export function labLoopDevices(): LoopDevice[] {
  const devices = loopDevices()
  const entries = nodesOfLab().flatMap((node) => entriesOf(node))
  return [...volumeDevices(devices, poolsFolder, entries), ...driveDevices(devices)]
}

function driveDevices(devices: LoopDevice[]): LoopDevice[] {
  return devices.filter((device) => [places.drives, labDirectory].some((folder) => isBelow(device, folder)))
}

/** Whether the kernel has the pool on a drive open, be it mounted or not. */
function hasOpenPool(devicePath: string): boolean {
  const opened = '/sys/fs/btrfs'
  return namesIn(opened).some((pool) => namesIn(join(opened, pool, 'devices')).includes(basename(devicePath)))
}

/** Names of the entries of the pool on a drive, which is mounted for that where nobody else sees it. */
async function entriesOn(devicePath: string): Promise<string[]> {
  const script = 'mount -t btrfs -o ro "$1" /run && ls /run'
  const { stdout } = await exec(['unshare', '--mount', 'sh', '-ec', script, 'sh', devicePath])
  return stdout.split('\n').filter(Boolean)
}

/**
 * Devices of volumes whose files are below a folder or in one of these entries of pools, which no other pool has. On
 * Kubernetes a device whose agent's container has gone does not tell the pool of its file any more.
 */
function volumeDevices(devices: LoopDevice[], folder: string, entries: string[]): LoopDevice[] {
  const filesOfEntries = new Set(entries.map((entry) => `/${entry}/data`))
  return devices.filter((device) => isBelow(device, folder) || filesOfEntries.has(device.file))
}

/** Names of the entries of the pools that a running node has open. */
function entriesOf(node: string): string[] {
  if (!isMachineRunning(node)) return []
  const pools = join('/proc', String(machinePid(node)), 'root', nodePools(node))
  return namesIn(pools).flatMap((pool) => namesIn(join(pools, pool)))
}

/** Nothing where there is no folder, or none that can be read: its drive may have failed. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function nodesOfLab(): string[] {
  try {
    return readLabState()?.nodes ?? []
  } catch {
    return [] // damaged: what can be found without it is found
  }
}

function sparseFile(file: string, bytes: number): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  if (existsSync(file)) return file
  writeFileSync(file, '', { mode: 0o600 })
  truncateSync(file, bytes)
  return file
}

/** A file in memory with a speed of its own; its process belongs to no node, so that it outlives a power failure. */
async function pacedDrive(node: string, bytes: number, iops: number): Promise<string> {
  const folder = places.pacedDrive(node)
  const paced = join(folder, 'drive')
  if (existsSync(paced)) return paced
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const command = [artefacts.pacedDrive, String(bytes), folder, String(iops), String(iops * bytesPerOperation)]
  const log = join(places.logs, `${node}-drive.log`)
  startDaemon(joiningCgroup(makeLabCgroup('drives'), command), log)
  await waitFor(`the drive of ${node}; its log is ${log}`, () => existsSync(paced), { deadline: 30_000 })
  return paced
}

async function attach(image: string): Promise<string> {
  const { stdout } = await exec(['losetup', '--find', '--show', '--direct-io=on', image])
  return stdout.trim()
}

function deviceOf(image: string): string | undefined {
  return loopDevices().find(({ file }) => file === image)?.devicePath
}

/**
 * Detaches devices from their files; one that is in use goes with its users. A device that has gone by itself since it was
 * listed may be another lab's now: while it is open here it gets no other file, so that it can be looked at once more.
 */
export async function detach(devices: LoopDevice[]): Promise<void> {
  for (const { devicePath, file } of devices) {
    try {
      await using _open = await open(devicePath)
      if (fileBehind(basename(devicePath)) === file) await exec(['losetup', '--detach', devicePath])
    } catch {
      // gone by itself
    }
  }
}

function isBelow({ file }: LoopDevice, folder: string): boolean {
  return file.startsWith(`${folder}/`)
}

/** All loop devices of the machine that have a file. */
export function loopDevices(): LoopDevice[] {
  const names = readdirSync('/sys/block').filter((name) => name.startsWith('loop'))
  return names.flatMap((name) => {
    const file = fileBehind(name)
    return file ? [{ devicePath: `/dev/${name}`, file }] : []
  })
}

/** Where the file of a loop device is, or was before it was deleted. */
function fileBehind(name: string): string | undefined {
  return backingFileOf(name)?.replace(/ \(deleted\)$/, '')
}
