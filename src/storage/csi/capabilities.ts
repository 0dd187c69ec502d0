import type { FilesystemType, Volume } from '../../api/index.ts'
import { CsiError } from './csi-errors.ts'
import type { AccessModeName, VolumeCapability } from './csi-messages.ts'

/** Ways to use a volume: always on one node at a time. */
export const accessModes: readonly AccessModeName[] = [
  'SINGLE_NODE_WRITER',
  'SINGLE_NODE_READER_ONLY',
  'SINGLE_NODE_SINGLE_WRITER',
  'SINGLE_NODE_MULTI_WRITER',
]

const filesystems: readonly FilesystemType[] = ['ext4', 'xfs']

/** How a volume is to be used, as a capability says it. */
export interface WantedUse {
  access: 'block' | 'mount'
  mode: AccessModeName
  /** Absent on a block device, and when the capability leaves it open. */
  filesystem?: FilesystemType
  mountFlags: string[]
}

/** What of a capability cannot be had; undefined when all of it can. */
export function capabilityProblem(capability: VolumeCapability): string | undefined {
  const { accessType, accessMode, mount } = capability
  if (!accessType) return 'a volume capability has no access type'
  const mode = accessMode?.mode ?? 'UNKNOWN'
  if (!accessModes.includes(mode)) {
    return `access mode ${mode} cannot be had: a volume is used on one node at a time (${accessModes.join(', ')})`
  }
  const type = mount?.fsType ?? ''
  if (type !== '' && !filesystems.includes(type as FilesystemType)) {
    return `filesystem "${type.slice(0, 40)}" is not supported, only ${filesystems.join(' and ')}`
  }
  if (mount?.volumeMountGroup) return 'volume_mount_group is not supported'
  return mount ? flagProblem(mount.mountFlags) : undefined
}

/** Reads a capability. Throws INVALID_ARGUMENT when it is missing or cannot be had. */
export function wantedUse(capability: VolumeCapability | null): WantedUse {
  if (!capability) throw new CsiError('INVALID_ARGUMENT', 'the request has no volume capability')
  const problem = capabilityProblem(capability)
  if (problem !== undefined) throw new CsiError('INVALID_ARGUMENT', problem)
  const { fsType, mountFlags } = capability.mount ?? { fsType: '', mountFlags: [] }
  return {
    access: capability.accessType!,
    mode: capability.accessMode!.mode,
    ...(fsType === '' ? {} : { filesystem: fsType as FilesystemType }),
    mountFlags,
  }
}

/** Why an existing volume cannot be used in such a way; undefined when it can. */
export function useProblem({ metadata: { name }, spec }: Volume, use: WantedUse): string | undefined {
  const has = spec.filesystem
  if (use.access === 'block' && has) return `volume ${name} has a filesystem (${has}) and is not used as a block device`
  if (use.access === 'mount' && !has) return `volume ${name} is a raw block device and cannot be mounted`
  if (use.filesystem && use.filesystem !== has) return `volume ${name} has ${has}, not ${use.filesystem}`
  return undefined
}

/** Options that would make of a mount something else than the mount of this volume. */
const forbiddenFlags =
  /^(remount|bind|rbind|move|loop|offset|sizelimit|users?|group|owner|fstype|defaults|.*context)(=|$)/

function flagProblem(flags: string[]): string | undefined {
  const wrong = flags.find((flag) => !/^[A-Za-z0-9_.:@%+=-]{1,128}$/.test(flag) || forbiddenFlags.test(flag))
  if (flags.length > 32) return `${flags.length} mount flags are too many`
  return wrong === undefined ? undefined : `mount flag "${wrong.slice(0, 40)}" is not allowed`
}
