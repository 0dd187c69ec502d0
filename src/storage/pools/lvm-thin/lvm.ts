import { exec, execJson, ExecError, Conflict, Exhausted, Internal } from '../../../base/index.ts'

const deadline = 120_000

/**
 * Settings of every call, over those of the machine: nothing waits for udev (it may be absent), nothing grows a pool or
 * watches it behind our back, no copies of metadata are kept in /etc, and a pool whose drive failed can be written again once its
 * metadata was checked.
 */
const settings = [
  'activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 retry_deactivation=0',
  'thin_pool_autoextend_threshold=100 auto_activation_volume_list=[] }',
  'backup { backup=0 archive=0 } devices { use_devicesfile=0 }',
  'global { thin_check_options=["-q", "--clear-needs-check-flag"] }',
].join(' ')

/** Runs an lvm command that sees one drive only, so that it can neither find nor touch another volume group. */
export async function lvm(device: string, command: string, ...args: string[]): Promise<string> {
  try {
    return (await exec(['lvm', command, '--config', settings, '--devices', device, ...args], { deadline })).stdout
  } catch (error) {
    throw asPoolError(error)
  }
}

/** Rows of an lvm report as lvm has them: every value a text. */
export async function lvmReport(device: string, command: 'lvs' | 'vgs' | 'pvs', fields: string[], ...args: string[]): Promise<Record<string, string>[]> {
  const options = ['--config', settings, '--devices', device, '--reportformat', 'json', '--units', 'b', '--nosuffix']
  const output = await execJson<{ report: Record<string, Record<string, string>[]>[] }>(
    ['lvm', command, ...options, '-o', fields.join(','), ...args],
    { deadline },
  )
  return Object.values(output?.report[0] ?? {})[0] ?? []
} // prettier-ignore

/** Runs dmsetup; device nodes are made by it and not by udev. */
export async function dmsetup(...args: string[]): Promise<string> {
  const env = { ...process.env, DM_DISABLE_UDEV: '1' }
  return (await exec(['dmsetup', ...args], { env, deadline })).stdout
}

/** The name under which device mapper knows a logical volume. */
export function mapperName(group: string, volume: string, layer?: string): string {
  const doubled = [group, volume].map((part) => part.replaceAll('-', '--')).join('-')
  return layer === undefined ? doubled : `${doubled}${layer}`
}

const fullWords = [
  'insufficient free space',
  'reached threshold',
  'Insufficient free extents',
  'out of data space',
  'No space',
]

function asPoolError(error: unknown): unknown {
  if (!(error instanceof ExecError)) return error
  const says = (word: string): boolean => error.stderr.includes(word)
  if (says('in use')) return new Conflict(`it is in use: ${error.stderr.trim()}`, { remedy: 'Unmount it or stop what uses it.', cause: error })
  if (says('needs check')) return failedDrive(error)
  if (!fullWords.some(says)) return error
  return new Exhausted(`the pool is full: ${error.stderr.trim()}`, {
    remedy: 'Delete snapshots or volumes, or use another drive.',
    cause: error,
  })
} // prettier-ignore

/** Nothing can be changed in the pool any more, because its drive failed to write. */
export function failedDrive(cause?: unknown): Internal {
  return new Internal('its drive failed to write, and nothing can be changed in it any more', {
    remedy: 'Look at the drive. The pool is checked and opened anew when its volumes are detached.',
    cause,
  })
}
