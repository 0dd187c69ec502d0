import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { exec, execJson } from '../src/base/index.ts'
import { nodePlaces, nodePools, places } from './places.ts'

interface LoopDevice {
  name: string
  'back-file': string | null
}

/** Plugs the drive of a node in: a loop device on a sparse file, which the node finds under a path of its own. */
export async function plugDrive(node: string, machinePid: number, bytes: number): Promise<void> {
  const image = places.driveImage(node)
  mkdirSync(dirname(image), { recursive: true, mode: 0o700 })
  if (!existsSync(image)) {
    writeFileSync(image, '', { mode: 0o600 })
    truncateSync(image, bytes)
  }
  const path = join('/proc', String(machinePid), 'root', nodePlaces.drive)
  mkdirSync(dirname(path), { recursive: true })
  rmSync(path, { force: true })
  symlinkSync((await deviceOf(image)) ?? (await attach(image)), path)
}

/**
 * Has the devices of volumes on a node removed as soon as nothing uses them any more. Before its power is cut: afterwards
 * their files belong to no mount that could be told from others, and they would keep its drive in use.
 */
export async function dropVolumeDevices(node: string): Promise<void> {
  await detach((await loopDevices()).filter((device) => isBelow(device, nodePools(node))))
}

/** Loop devices of the lab: those of volumes, then those of its drives. */
export async function labDriveDevices(): Promise<string[]> {
  const devices = await loopDevices()
  const volumes = devices.filter(({ 'back-file': file }) => file?.startsWith(`${nodePools('')}`))
  return [...volumes, ...devices.filter((device) => isBelow(device, places.drives))].map(({ name }) => name)
}

async function attach(image: string): Promise<string> {
  const { stdout } = await exec(['losetup', '--find', '--show', '--direct-io=on', image])
  return stdout.trim()
}

async function deviceOf(image: string): Promise<string | undefined> {
  return (await loopDevices()).find((device) => device['back-file'] === image)?.name
}

async function detach(devices: LoopDevice[]): Promise<void> {
  for (const { name } of devices) await exec(['losetup', '--detach', name]).catch(() => {}) // gone by itself
}

function isBelow({ 'back-file': file }: LoopDevice, folder: string): boolean {
  return file?.startsWith(`${folder}/`) ?? false
}

async function loopDevices(): Promise<LoopDevice[]> {
  if (!readdirSync('/sys/block').some((name) => isUsedLoop(name))) return []
  const columns = 'NAME,BACK-FILE'
  const output = await execJson<{ loopdevices: LoopDevice[] }>(['losetup', '--json', '--list', '--output', columns])
  return output?.loopdevices ?? []
}

function isUsedLoop(name: string): boolean {
  if (!name.startsWith('loop')) return false
  try {
    return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8') !== ''
  } catch {
    return false
  }
}
