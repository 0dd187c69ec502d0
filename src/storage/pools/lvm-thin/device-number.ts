import { readFileSync, statSync } from 'node:fs'

/** The number of a block device as sysfs writes it. The name of a node says nothing: without udev it is no link to dm-0. */
export function deviceNumber(devicePath: string): string {
  const { rdev } = statSync(devicePath)
  const major = (rdev >>> 8) & 0xfff
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00)
  return `${major}:${minor}`
}

/** Where sysfs describes the device. */
export function sysfsFolder(devicePath: string): string {
  return `/sys/dev/block/${deviceNumber(devicePath)}`
}

/** Whether the device refuses writes. */
export function isReadOnly(devicePath: string): boolean {
  return readFileSync(`${sysfsFolder(devicePath)}/ro`, 'utf8').trim() === '1'
}
