import { readFileSync, statSync } from 'node:fs'
import { InvalidInput } from '../base/index.ts'
import type { SectorSize } from './pool-format.ts'

/** The unit in which sysfs counts, whatever the sectors of the device are. */
const sysfsSector = 512

/** The number of a block device as sysfs writes it. The name of a node says nothing: without udev it is no link to dm-0. */
export function deviceNumber(devicePath: string): string {
  return numberText(statSync(devicePath).rdev)
}

/** `MAJOR:MINOR` of a number as glibc packs it, below 2^32. */
export function numberText(rdev: number): string {
  const major = (rdev >>> 8) & 0xfff
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)
  return `${major}:${minor}`
}

/** Where sysfs describes the device, be it a whole one or a partition. */
export function sysfsFolder(devicePath: string): string {
  return `/sys/dev/block/${deviceNumber(devicePath)}`
}

/** Whether the device refuses writes. */
export function isReadOnly(devicePath: string): boolean {
  return readFileSync(`${sysfsFolder(devicePath)}/ro`, 'utf8').trim() === '1'
}

/** Bytes of the device. */
export function deviceSize(devicePath: string): number {
  return Number(readFileSync(`${sysfsFolder(devicePath)}/size`, 'utf8')) * sysfsSector
}

/** Bytes of a sector of a whole drive. */
export function sectorSizeOf(devicePath: string): SectorSize {
  return Number(readFileSync(`${sysfsFolder(devicePath)}/queue/logical_block_size`, 'utf8')) as SectorSize
}

/** Throws InvalidInput for sectors that are smaller than those of the drive: it could not write a part of one. */
export function checkSectorSize(wanted: SectorSize, drive: SectorSize): void {
  if (wanted >= drive) return
  throw new InvalidInput(`the drive has sectors of ${drive} bytes, a volume on it cannot have ${wanted}`)
}
