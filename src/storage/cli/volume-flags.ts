import type { Volume } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'

/** Flags of `volume create`, quantities as the user wrote them. */
export interface VolumeCreateFlags {
  size?: string
  mirrorCount?: number
  perfTier?: string
  fsType?: string
  labels?: Record<string, string>
  selectors?: Record<string, string>
  node?: string[]
  src?: string
  srcVolume?: string
  allocRatio?: string
  block?: boolean
  volumeuser?: string
  secure?: boolean
  vg?: string
}

/** What a volume takes from its source unless the user says otherwise. */
export interface SourceFacts {
  /** Bytes. */
  size: number
  filesystem: 'ext4' | 'xfs' | undefined
}

/** The volume that `volume create NAME` describes. Throws InvalidInput. */
export function volumeOf(name: string, flags: VolumeCreateFlags, source: SourceFacts | undefined): Volume {
  rejectLater(flags)
  const size = flags.size ?? source?.size
  if (size === undefined) {
    throw new InvalidInput('a volume needs a size', { remedy: 'Add -s SIZE, such as -s 10G.' })
  }
  const filesystem = filesystemOf(flags, source)
  return {
    metadata: { name, ...(flags.labels ? { labels: flags.labels } : {}) },
    spec: {
      size,
      mirrorCount: flags.mirrorCount ?? 1,
      ...(flags.perfTier === undefined ? {} : { perfTierName: flags.perfTier }),
      ...(filesystem === undefined ? {} : { filesystem }),
      ...(flags.src === undefined ? {} : { source: { snapshotName: flags.src } }),
      ...(flags.srcVolume === undefined ? {} : { source: { volumeName: flags.srcVolume } }),
      ...(flags.node ? { nodeNames: flags.node } : {}),
      ...(flags.selectors ? { selector: flags.selectors } : {}),
    },
  }
}

function filesystemOf(
  { block, fsType }: VolumeCreateFlags,
  source: SourceFacts | undefined,
): 'ext4' | 'xfs' | undefined {
  if (block && fsType !== undefined) {
    throw new InvalidInput('--block and --fs-type exclude each other', { remedy: 'Give one of them.' })
  }
  if (block) return undefined
  if (fsType === undefined) return source ? source.filesystem : 'ext4'
  if (fsType === 'ext4' || fsType === 'xfs') return fsType
  throw new InvalidInput(`--fs-type "${fsType}" is not a filesystem for volumes`, { remedy: 'Use ext4 or xfs.' })
}

function rejectLater({ secure, vg, volumeuser, src, srcVolume }: VolumeCreateFlags): void {
  const remedy = 'Leave the flag out.'
  if (secure) throw new InvalidInput('--secure: encrypted volumes are not in this version', { remedy })
  if (vg !== undefined) throw new InvalidInput('--vg: volume groups are not in this version', { remedy })
  if (volumeuser !== undefined) throw new InvalidInput('--volumeuser: volumes of VMs come with VMs', { remedy })
  if (src !== undefined && srcVolume !== undefined) {
    throw new InvalidInput('--src and --src-volume exclude each other', { remedy: 'Give one of them.' })
  }
}
