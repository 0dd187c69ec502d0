import { Snapshot, Volume, type FilesystemType } from '../../api/index.ts'
import { findObject } from '../../store/index.ts'
import { deviceSize } from '../volume-size.ts'
import type { ControllerContext } from './controller-context.ts'
import { CsiError } from './csi-errors.ts'
import { isId } from './object-names.ts'
import type { KnownSource } from './volume-request.ts'

/** What a volume is to be made from, as it is now. Throws NOT_FOUND, and UNAVAILABLE for a snapshot that is not taken. */
export async function readySource(
  { store }: ControllerContext,
  source: NonNullable<Volume['spec']['source']> | undefined,
): Promise<KnownSource | undefined> {
  if (!source) return undefined
  if ('volumeName' in source) {
    const { volumeName: name } = source
    const volume = isId(name) ? await findObject(store, Volume, { name }) : undefined
    if (!volume || volume.metadata.deletionTimestamp) {
      throw new CsiError('NOT_FOUND', `there is no volume ${name.slice(0, 128)} to clone`)
    }
    const { filesystem, size } = volume.spec
    return { source, size: volume.status?.size ?? deviceSize(size), ...(filesystem ? { filesystem } : {}) }
  }
  const { snapshotName: name } = source
  const snapshot = isId(name) ? await findObject(store, Snapshot, { name }) : undefined
  if (!snapshot || snapshot.metadata.deletionTimestamp) {
    throw new CsiError('NOT_FOUND', `there is no snapshot ${name.slice(0, 128)}`)
  }
  const { phase, size = 0, filesystem } = snapshot.status ?? {}
  if (phase !== 'Ready') {
    throw new CsiError('UNAVAILABLE', `snapshot ${name} is ${phase ?? 'Pending'}`, {
      remedy: 'Wait until it is Ready.',
    })
  }
  return { source, size, ...(filesystem ? { filesystem: filesystem as FilesystemType } : {}) }
}
