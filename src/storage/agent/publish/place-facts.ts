import { mountAt, showsDevice } from './mount-table.ts'
import type { TargetFacts } from './publish-decision.ts'
import { kernelPath } from './publish-path.ts'
import type { PublishSystem } from './publish-system.ts'

/**
 * What is at a path, seen from the volume with this device. What is mounted there is not looked into: a filesystem that
 * has failed would not answer.
 */
export function factsAt(
  system: PublishSystem,
  path: string,
  device: string | undefined,
  access: 'mount' | 'block',
): TargetFacts {
  const place = kernelPath(path) ?? path
  const mount = mountAt(place, system.mounts())
  if (!mount) return { path: system.pathKind(path), mounted: 'nothing' }
  const number = device === undefined ? undefined : system.deviceNumber(device)
  const isOurs = access === 'mount' ? showsDevice(mount, number) : system.deviceNumber(place) === number
  if (!isOurs || number === undefined) return { path: 'other', mounted: 'something else' }
  return { path: 'other', mounted: mount.isReadOnly ? 'this volume, read-only' : 'this volume' }
}
