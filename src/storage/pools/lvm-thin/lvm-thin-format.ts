import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { Conflict, exec, ExecError, Internal, InvalidInput, NotFound } from '../../../base/index.ts'
import type { PoolFormat } from '../../pool-format.ts'
import { deviceNumber, sysfsFolder } from '../../device-number.ts'
import { readyTag } from './entry-record.ts'
import { dmsetup, lvm, lvmReport, mapperName } from './lvm.ts'
import { extentBytes, LvmThinPool } from './lvm-thin-pool.ts'
import { metadataBytes, poolVolume } from './thin-pool-device.ts'

/** An empty volume, active while the pool is open: without one, lvm takes the pool away and brings it back with each call. */
const anchorVolume = 'anchor'
const groupPrefix = 'cbn-'
/** Bytes that a write to shared data copies at least, and in which space is given out. */
const chunk = 64 * 1024

/** Volumes as thin logical volumes, a volume group on each drive: for kernels with device mapper. */
export class LvmThinFormat implements PoolFormat {
  readonly name = 'lvm-thin'
  readonly #leastMetadata: number

  /** `leastMetadata`: bytes that a pool has for its metadata however small its drive is. */
  constructor({ leastMetadata = 2 ** 24 }: { leastMetadata?: number } = {}) {
    this.#leastMetadata = leastMetadata
  }

  async unsupportedReason(): Promise<string | undefined> {
    for (const program of [['lvm', 'version'], ['thin_check', '-V'], ['thin_ls', '-V']] as [string, ...string[]][]) {
      if (!(await succeeds(program))) return `${program[0]} does not work; install lvm2 and thin-provisioning-tools`
    }
    await succeeds(['modprobe', 'dm-thin-pool'])
    const targets = await dmsetup('targets').catch(() => '')
    return /^thin-pool /m.test(targets) ? undefined : 'the kernel has no thin pools (CONFIG_DM_THIN_PROVISIONING, module dm-thin-pool)'
  } // prettier-ignore

  async probe(device: string): Promise<string | undefined> {
    const [found] = await volumeGroupsOn(device)
    if (!found?.name.startsWith(groupPrefix) || !found.tags.includes(readyTag)) return undefined
    return found.name.slice(groupPrefix.length)
  }

  async format(device: string, { id }: { id: string }): Promise<void> {
    if (!/^[A-Za-z0-9-]{1,64}$/.test(id)) throw new InvalidInput(`the id of a pool has letters, digits and "-", not ${JSON.stringify(id)}`)
    const group = groupPrefix + id
    for (const { name } of await volumeGroupsOn(device)) await lvm(device, 'vgremove', '--force', '--force', '--yes', name)
    await exec(['wipefs', '--all', '--force', device])
    await lvm(device, 'pvcreate', '--force', '--force', '--yes', '--zero', 'y', device)
    // Never activated by the machine itself at its start: only by whoever opens the pool.
    await lvm(device, 'vgcreate', '--setautoactivation', 'n', '--physicalextentsize', `${extentBytes}b`, group, device)
    const [row] = await lvmReport(device, 'vgs', ['vg_size'], group)
    const metadata = metadataBytes(Number(row!.vg_size), chunk, this.#leastMetadata)
    // Room for the metadata, the spare that a repair writes to, and as much again for both to grow into.
    const data = Number(row!.vg_size) - 4 * metadata
    const options = ['--chunksize', `${chunk}b`, '--poolmetadatasize', `${metadata}b`, '--poolmetadataspare', 'y', '--discards', 'passdown', '--zero', 'y']
    await lvm(device, 'lvcreate', '--yes', '--type', 'thin-pool', '--size', `${data}b`, ...options, '--name', poolVolume, group)
    await lvm(device, 'lvcreate', '--type', 'thin', '--virtualsize', `${extentBytes}b`, '--thinpool', poolVolume, '--name', anchorVolume, group)
    // Not an option of lvcreate, for all that its manual says.
    await lvm(device, 'lvchange', '--errorwhenfull', 'y', `${group}/${poolVolume}`)
    await lvm(device, 'vgchange', '--addtag', readyTag, group)
  } // prettier-ignore

  async open(device: string): Promise<LvmThinPool> {
    const id = await this.probe(device)
    if (id === undefined) throw new NotFound(`there is no pool of thin volumes on ${device}`)
    const group = groupPrefix + id
    refuseTwin(id, group, device)
    await activatePool(device, group)
    return LvmThinPool.open(id, device, group)
  }
}

/** Checks and activates the pool; one that the check refuses is repaired, into its spare metadata, and checked again. */
async function activatePool(device: string, group: string): Promise<void> {
  const pool = `${group}/${poolVolume}`
  const activate = (): Promise<string> => lvm(device, 'lvchange', '--activate', 'y', `${group}/${anchorVolume}`)
  try {
    await activate()
  } catch (error) {
    if (!(error instanceof ExecError) || !/check of|needs_check|repair/i.test(error.stderr)) throw error
    await lvm(device, 'lvconvert', '--yes', '--repair', pool)
    await activate().catch((cause: unknown) => {
      throw new Internal(`the metadata of pool ${group} is damaged and could not be repaired`, { cause, remedy: 'Restore its volumes from their other copies or a backup.' }) // prettier-ignore
    })
    await removeReplaced(device, group)
  }
}

/** Removes damaged metadata that a repair has replaced: where they are, the spare of the next repair will be. */
async function removeReplaced(device: string, group: string): Promise<void> {
  const names = (await lvmReport(device, 'lvs', ['lv_name'], group)).map((row) => row.lv_name ?? '')
  for (const name of names.filter((each) => each.startsWith(`${poolVolume}_meta`))) {
    await lvm(device, 'lvremove', '--force', '--yes', `${group}/${name}`)
  }
}

/** Device mapper knows volumes by name, so that those of a copy of the drive would be taken for ours. */
function refuseTwin(id: string, group: string, device: string): void {
  const path = `/dev/mapper/${mapperName(group, poolVolume, '_tdata')}`
  if (!existsSync(path)) return
  const folder = `${sysfsFolder(path)}/slaves`
  const below = readdirSync(folder)
  const numbers = below.map((name) => readFileSync(`${folder}/${name}/dev`, 'utf8').trim())
  if (numbers.includes(deviceNumber(device))) return
  throw new Conflict(`pool ${id} is in use from ${below.join(', ')}; ${device} has a pool of the same id`, {
    remedy: 'One of the drives is a copy of the other: take one out, or format it.',
  })
}

/** None on a node without lvm. An lvm that fails says nothing about the drive: then it throws. */
async function volumeGroupsOn(device: string): Promise<{ name: string; tags: string[] }[]> {
  const rows = await lvmReport(device, 'pvs', ['vg_name', 'vg_tags']).catch((error: unknown) => {
    if (error instanceof ExecError && error.isMissing) return []
    throw error
  })
  return rows.flatMap(({ vg_name: name, vg_tags: tags }) => (name ? [{ name, tags: (tags ?? '').split(',') }] : []))
}

function succeeds(command: [string, ...string[]]): Promise<boolean> {
  return exec(command).then(() => true, () => false) // prettier-ignore
}
