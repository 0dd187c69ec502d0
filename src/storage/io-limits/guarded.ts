import type { Calibration } from '../../api/index.ts'
import type { DriveAbility } from './iops-guarantee.ts'

const uid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g

/** Nanoseconds that an operation is taken to take on a drive that was calibrated without that. */
const usualLatency = 500_000

/**
 * Parts of the names of the cgroups of those who use a volume at these paths: kubelet puts the uid of a pod into both; with
 * systemd's names of cgroups it has underscores.
 */
export function consumersAt(publishedPaths: string[]): string[] {
  const uids = new Set(publishedPaths.flatMap((path) => path.match(uid) ?? []))
  return [...uids].flatMap((each) => [each, each.replaceAll('-', '_')])
}

/** What floors are kept with: reads and writes share the drive, so the worse of the two counts. */
export function abilityFrom(calibration: Calibration): DriveAbility {
  const { readIops, writeIops, readBandwidth, writeBandwidth, latency = usualLatency } = calibration
  return {
    iops: Math.max(1, Math.min(readIops, writeIops)),
    bandwidth: Math.max(1, Math.min(readBandwidth, writeBandwidth)),
    latency: latency / 1e9,
  }
}
