import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { Conflict, exec, InvalidInput } from '../../../base/index.ts'

/** Where btrfs has its superblock, and what stands in it (fs/btrfs: struct btrfs_super_block). */
const superblock = { offset: 0x10000, bytes: 0x22b, fsid: 0x20, magic: 0x40, label: 0x12b } as const
const label = 'carbonado'
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const deadline = 120_000
/** After a snapshot every write copies nodes, and the next snapshot waits for that: with small ones half as long. */
const smallNodes = ['--nodesize', '4096']

/** The id of the pool whose filesystem is on the device. A format that was interrupted has no magic number yet. */
export async function poolIdOn(device: string): Promise<string | undefined> {
  await using file = await open(device)
  const bytes = Buffer.alloc(superblock.bytes)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, superblock.offset)
  if (bytesRead < bytes.length || bytes.toString('latin1', superblock.magic, superblock.magic + 8) !== '_BHRfS_M') return undefined
  if (bytes.toString('latin1', superblock.label).split('\0')[0] !== label) return undefined
  return bytes.toString('hex', superblock.fsid, superblock.fsid + 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
} // prettier-ignore

/** Makes an empty filesystem whose own id is that of the pool. Throws InvalidInput for an id that is no uuid. */
export async function makeFilesystem(device: string, id: string): Promise<void> {
  if (!uuid.test(id))
    throw new InvalidInput(`the id of a pool of files is a uuid in lower case, not ${JSON.stringify(id)}`)
  // One copy of metadata: the second would be on the same drive, and every write after a snapshot pays for it.
  const options = [
    '--quiet',
    '--force',
    '--label',
    label,
    '--uuid',
    id,
    '--metadata',
    'single',
    '--data',
    'single',
    ...smallNodes,
  ]
  await exec(['wipefs', '--all', '--force', device]) // mkfs makes no second filesystem of an id, not even over the first
  await exec(['mkfs.btrfs', ...options, device], { deadline })
}

/**
 * Mounts the pool of a device; nothing to do when it is. Throws Conflict when another device with the same id is in use:
 * one is a copy of the other, and the kernel would take them for one.
 */
export async function mountPool(device: string, id: string, mountPoint: string): Promise<void> {
  if (hasFailed(mountPoint)) await unmountPool(mountPoint) // the drive may work again
  const mounted = mountedAt(mountPoint)
  if (mounted !== undefined && isSameDevice(mounted, device)) return
  const twins =
    mounted === undefined ? devicesOf(id).filter((name) => !isSameDevice(`/dev/${name}`, device)) : [mounted]
  if (twins.length > 0) {
    throw new Conflict(`pool ${id} is in use from ${twins.join(', ')}; ${device} has a pool of the same id`, {
      remedy: 'One of the drives is a copy of the other: take one out, or format it.',
    })
  }
  await mkdir(mountPoint, { recursive: true })
  // No copy-on-write but after a snapshot: overwriting in place keeps the speed of the drive and the file in one piece.
  // What is in use counts from a commit on, so there is one every 5 s.
  await exec(['mount', '-t', 'btrfs', '-o', 'noatime,nodatacow,discard=async,commit=5', device, mountPoint], {
    deadline,
  })
}

/** Unmounts the pool unless volumes of it are in use. */
export async function unmountPool(mountPoint: string): Promise<void> {
  if (mountedAt(mountPoint) === undefined) return
  await exec(['umount', mountPoint], { deadline }).catch((error: unknown) => {
    if (!String(error).includes('busy')) throw error
  })
}

/** Whether the kernel lets nothing be written there any more, because the drive failed to. */
export function hasFailed(mountPoint: string): boolean {
  return mountAt(mountPoint)?.options.split(',').includes('ro') ?? false
}

/** What is mounted there last, in this mount namespace. */
function mountedAt(mountPoint: string): string | undefined {
  return mountAt(mountPoint)?.device
}

function mountAt(mountPoint: string): { device: string; options: string } | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' '))
  const [device, , , options] = mounts.findLast(([, place]) => place === mountPoint) ?? []
  return device === undefined ? undefined : { device, options: options ?? '' }
} // prettier-ignore

/** Devices of a filesystem that is mounted in any mount namespace. */
function devicesOf(fsid: string): string[] {
  const folder = `/sys/fs/btrfs/${fsid}/devices`
  return existsSync(folder) ? readdirSync(folder) : []
}

function isSameDevice(one: string, other: string): boolean {
  const real = (path: string): string => (existsSync(path) ? realpathSync(path) : path)
  return basename(real(one)) === basename(real(other))
}
