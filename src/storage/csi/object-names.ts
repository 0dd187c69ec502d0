import { createHash } from 'node:crypto'
import type { ObjectMeta } from '../../api/index.ts'
import { CsiError } from './csi-errors.ts'

/** The name that an orchestrator gave; on objects that were made for one. */
export const csiNameAnnotation = 'csi.carbonado.io/name'

/** Names of plexes and group snapshots are made from the name of a volume, so that one is held shorter than others. */
const longestName = 100

/** Bytes of a name, by the limit of CSI for all names. */
const longestCsiName = 128

/**
 * The object's name for a name that an orchestrator gave, which may have any characters: the same where an object can
 * have it, else what is left of it and a hash. Two names never lead to one object: the annotation tells them apart.
 */
export function objectNameOf(csiName: string, what: string): string {
  if (csiName === '') throw new CsiError('INVALID_ARGUMENT', `the ${what} has no name`)
  const bytes = Buffer.byteLength(csiName)
  if (bytes > longestCsiName) {
    throw new CsiError('INVALID_ARGUMENT', `the name of the ${what} has ${bytes} bytes, more than ${longestCsiName}`)
  }
  if (isObjectName(csiName)) return csiName
  const readable = csiName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 60)
  const hash = createHash('sha256').update(csiName).digest('hex').slice(0, 32)
  return readable === '' ? hash : `${readable.replace(/-$/, '')}-${hash}`
}

function isObjectName(name: string): boolean {
  return name.length <= longestName && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)
}

/** Whether an object can have this id; also those that `dctl` made. */
export function isId(id: string): boolean {
  return id.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(id)
}

/** Throws ALREADY_EXISTS when an object of that name was made by somebody else or for another name. */
export function checkMadeFor(csiName: string, { name, annotations }: ObjectMeta, what: string): void {
  if (annotations?.[csiNameAnnotation] === csiName) return
  throw new CsiError('ALREADY_EXISTS', `there is a ${what} ${name} already that was not made for "${csiName}"`, {
    remedy: 'Use another name.',
  })
}
