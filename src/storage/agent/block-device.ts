import { closeSync, constants, openSync, readFileSync, realpathSync } from 'node:fs'
import { execJson, NotFound } from '../../base/index.ts'

/** A whole block device as the kernel has it. */
export interface BlockDevice {
  /** Path as it was configured or found, stable over restarts where the machine has such names. */
  device: string
  /** Path of the kernel's own node, such as /dev/nvme0n1. */
  node: string
  /** Bytes. */
  size: number
  model?: string
  serial?: string
  /** Signatures, partitions and mounts on it, each in words; empty on a blank drive. */
  found: string[]
  /** Why it cannot be overwritten even by force: it is mounted, or another subsystem holds it. */
  inUse?: string
  /** Whether it is mounted, or a part of it; else another subsystem holds what is `inUse`. */
  isMounted?: boolean
}

interface LsblkDevice {
  name: string
  path: string
  type: string
  size: number
  model?: string | null
  serial?: string | null
  fstype?: string | null
  pttype?: string | null
  mountpoints?: (string | null)[]
  children?: LsblkDevice[]
}

interface WipefsSignature {
  type: string
  offset: string
  label?: string | null
  uuid?: string | null
}

const lsblkColumns = 'NAME,PATH,TYPE,SIZE,MODEL,SERIAL,FSTYPE,PTTYPE,MOUNTPOINTS'

/** Kinds of device that drives can be; a loop device only where it is named. */
const wholeTypes = new Set(['disk', 'loop', 'mpath'])

/** Looks at one device. Throws NotFound when it is not there, is no whole block device, or has nothing in it. */
export async function inspectDevice(device: string): Promise<BlockDevice> {
  const node = realNode(device)
  const entry = await lsblk(node)
  if (!entry || !wholeTypes.has(entry.type)) {
    throw new NotFound(`${device} is ${entry ? `a ${entry.type}` : 'no block device'}, not a whole drive`, {
      remedy: 'Name whole drives in `drives` of the agent.',
    })
  }
  if (entry.size === 0) {
    // a loop device that lost its file, a reader without a card: it must not pass for a blank drive
    throw new NotFound(`${device} has no bytes at all`, { remedy: 'Look whether the drive is plugged in.' })
  }
  const [signatures, mounts] = [await signaturesOf(node), mountsOf(entry)]
  const inUse = mounts[0] ?? holderOf(node)
  const { model, serial } = entry
  return {
    device,
    node,
    size: entry.size,
    ...(model?.trim() ? { model: model.trim() } : {}),
    ...(serial?.trim() ? { serial: serial.trim() } : {}),
    found: [...signatures, ...partitionsOf(entry), ...mounts],
    ...(inUse === undefined ? {} : { inUse, isMounted: mounts.length > 0 }),
  }
}

/** All whole drives that could be given away: no loop, memory or optical devices, nothing mounted or held. */
export async function findFreeDrives(): Promise<string[]> {
  const output = await execJson<{ blockdevices: LsblkDevice[] }>(['lsblk', '-J', '-b', '-o', lsblkColumns])
  return (output?.blockdevices ?? [])
    .filter(({ type, size }) => type === 'disk' && size > 0)
    .filter(({ name }) => !/^(zram|ram|fd|nbd|sr)/.test(name))
    .filter((entry) => mountsOf(entry).length === 0 && !(entry.children ?? []).some((child) => child.type !== 'part'))
    .map(({ path }) => path)
}

function realNode(device: string): string {
  try {
    return realpathSync(device)
  } catch {
    throw new NotFound(`there is no ${device}`, { remedy: 'Look whether the drive is plugged in.' })
  }
}

async function lsblk(node: string): Promise<LsblkDevice | undefined> {
  try {
    const output = await execJson<{ blockdevices: LsblkDevice[] }>(['lsblk', '-J', '-b', '-o', lsblkColumns, node])
    return output?.blockdevices[0]
  } catch {
    return undefined // lsblk exits with an error for what is no block device
  }
}

async function signaturesOf(node: string): Promise<string[]> {
  const output = await execJson<{ signatures: WipefsSignature[] }>(['wipefs', '-J', '--no-act', node]).catch(
    (error: unknown) => ({ signatures: [{ type: `cannot be read: ${(error as Error).message}`, offset: '0' }] }),
  )
  return (output?.signatures ?? []).map(({ type, label, uuid }: WipefsSignature) => {
    const named = label ? ` "${label}"` : ''
    return `${type}${named}${uuid ? ` (${uuid})` : ''}`
  })
}

function partitionsOf({ children = [] }: LsblkDevice): string[] {
  return children.map(({ path, type, size, fstype }) => `${type} ${path}, ${size} bytes${fstype ? `, ${fstype}` : ''}`)
}

function mountsOf(entry: LsblkDevice): string[] {
  const own = (entry.mountpoints ?? []).flatMap((point) => (point ? [`${entry.path} is mounted at ${point}`] : []))
  return [...own, ...(entry.children ?? []).flatMap(mountsOf)]
}

/** Exclusive opening fails while the device is mounted anywhere, or held by md, device mapper or a loop device. */
function holderOf(node: string): string | undefined {
  try {
    closeSync(openSync(node, constants.O_RDONLY | constants.O_EXCL))
    return undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return `${node} is held by another part of the system`
    return `${node} cannot be opened: ${(error as Error).message}`
  }
}

/** Where a device is mounted in this mount namespace. */
export function mountPointsOf(devicePath: string, mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [head = '', tail = ''] = line.split(' - ')
    const [, source] = tail.split(' ')
    return source === devicePath ? [unescapeOctal(head.split(' ')[4]!)] : []
  })
}

function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)))
}
