import { InvalidInput } from '../../base/index.ts'
import { cniCodes } from './errors.ts'

/** Versions of the CNI specification that the plugin speaks, oldest first. */
export const supportedVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const
export type CniVersion = (typeof supportedVersions)[number]

/** What errors are written in when the caller's version is not known. */
export const fallbackVersion: CniVersion = '1.0.0'

/** Whether `version` is `minimum` or newer. */
export function isAtLeast(version: CniVersion, minimum: CniVersion): boolean {
  return supportedVersions.indexOf(version) >= supportedVersions.indexOf(minimum)
}

/** Says whether text names a version that is spoken here. */
export function isSupportedVersion(version: unknown): version is CniVersion {
  return (supportedVersions as readonly unknown[]).includes(version)
}

/**
 * The version that a network configuration asks for; one without `cniVersion` means 0.1.0, as the specification had
 * it before the field existed. Throws InvalidInput with CNI code 1 for a version that is not supported.
 */
export function requireVersion(value: unknown): CniVersion {
  if (value === undefined || value === '') return '0.1.0'
  if (isSupportedVersion(value)) return value
  throw new InvalidInput(`CNI version ${JSON.stringify(value)} is not supported`, {
    remedy: `Set cniVersion in the network configuration to one of ${supportedVersions.join(', ')}.`,
    details: { cniCode: cniCodes.incompatibleVersion },
  })
}

/** The oldest version that has a verb; verbs that are not here exist in all versions. */
const firstVersionOfVerb: Record<string, CniVersion> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' }

/** Throws InvalidInput with CNI code 1 when the verb does not exist yet in the version asked for. */
export function requireVerb(verb: string, version: CniVersion): void {
  const first = firstVersionOfVerb[verb]
  if (!first || isAtLeast(version, first)) return
  throw new InvalidInput(`CNI ${verb} does not exist in version ${version} of the specification`, {
    remedy: `Set cniVersion in the network configuration to ${first} or newer.`,
    details: { cniCode: cniCodes.incompatibleVersion },
  })
}
