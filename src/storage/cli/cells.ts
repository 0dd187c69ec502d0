import type { SpaceUsage } from '../../api/index.ts'
import { formatSpace } from '../../guarantee/index.ts'

/** A size as one word, so that every line of a table has as many words as there are columns. */
export function spaceCell(bytes: number): string {
  return formatSpace(bytes).replace(' ', '')
}

/** What comes back when something is deleted; undefined where its agent does not tell. */
export function reclaimableCell(usage: SpaceUsage | undefined): string | undefined {
  return usage?.reclaimable === undefined ? undefined : spaceCell(usage.reclaimable)
}
