import { isDeepStrictEqual } from 'node:util'
import { Drive, Node } from '../../api/index.ts'
import type { ReconcileResult } from '../../base/index.ts'
import { promisableSpace, type CapacityLedger } from '../../guarantee/index.ts'
import { isStale, type ResourceStore } from '../../store/index.ts'
import { driveTotals } from './drive-space.ts'
import type { StorageEvents } from './storage-events.ts'
import type { StorageView } from './storage-view.ts'

interface Share {
  promised: number
  total: number
}
type DriveCapacity = Record<'space' | 'iops', Share>

/** What these two controllers work with. */
export interface CapacityParts {
  store: ResourceStore
  view: StorageView
  ledger: CapacityLedger
}

/** What of a drive is promised: to plexes, and to what is held already. Undefined while it has no pool. */
function capacityOf(drive: Drive, ledger: CapacityLedger): DriveCapacity | undefined {
  const pool = drive.status?.agent?.pool
  if (!pool) return undefined
  const promised = ledger.promisedOn(drive.metadata.name)
  return {
    space: { promised: promised.space + pool.held, total: promisableSpace(pool.capacity) },
    iops: { promised: promised.iops, total: driveTotals(drive).iops },
  }
}

/** Writes what is promised of a drive of what there is (`status.capacity`); the key is the drive's name. */
export async function reconcileDriveCapacity(key: string, parts: CapacityParts): Promise<ReconcileResult> {
  const drive = parts.view.drives.get({ name: key })
  if (!drive) return { done: true }
  const capacity = capacityOf(drive, parts.ledger)
  if (isDeepStrictEqual(drive.status?.capacity, capacity)) return { done: true }
  const patch = { metadata: { uid: drive.metadata.uid }, status: { capacity: capacity ?? null } }
  return written(parts.store.patch(Drive, { name: key }, patch, { subresource: 'status' }))
}

/** Writes the sums over the drives of a node (`status.capacity.iops`, `.space`); the key is the node's name. */
export async function reconcileNodeStorage(
  key: string,
  { store, view, ledger }: CapacityParts,
): Promise<ReconcileResult> {
  const node = view.nodes.get({ name: key })
  // The network's half of the capacity comes first: a status must have it.
  if (!node?.status?.capacity) return { done: true }
  const capacities = view.drives
    .items()
    .filter(({ spec }) => spec.nodeName === key)
    .flatMap((drive) => capacityOf(drive, ledger) ?? [])
  const { iops, space } = node.status.capacity
  const wanted = capacities.length === 0 ? {} : { iops: sum(capacities, 'iops'), space: sum(capacities, 'space') }
  if (isDeepStrictEqual({ iops: undefined, space: undefined, ...wanted }, { iops, space })) return { done: true }
  const patch = { metadata: { uid: node.metadata.uid }, status: { capacity: { iops: null, space: null, ...wanted } } }
  return written(store.patch(Node, { name: key }, patch, { subresource: 'status' }))
}

function sum(capacities: DriveCapacity[], resource: keyof DriveCapacity): Share {
  return capacities.reduce(
    (all, each) => ({
      promised: all.promised + each[resource].promised,
      total: all.total + each[resource].total,
    }),
    { promised: 0, total: 0 },
  )
}

async function written(write: Promise<unknown>): Promise<ReconcileResult> {
  try {
    await write
    return { done: true }
  } catch (error) {
    if (isStale(error)) return { requeueAfter: 50 }
    throw error
  }
}

/** Shares of a pool in use at which an event is recorded. */
const fillingMarks = [0.9, 0.8] as const

/** Records an event when a pool, or the metadata of its format, has come to 80 or 90 %. */
export function warnOfFilling(drive: Drive, previous: Drive | undefined, events: StorageEvents): void {
  const now = fillings(drive)
  const before = previous ? fillings(previous) : {}
  for (const [what, share] of Object.entries(now)) {
    const mark = fillingMarks.find((each) => share >= each)
    if (mark === undefined || (before[what] ?? 0) >= mark) continue
    const name = drive.metadata.name
    events.filling(
      Drive,
      drive,
      `${what} of drive ${name} is ${Math.round(mark * 100)} % used; delete snapshots or volumes that are not needed`,
    )
  }
}

function fillings({ status }: Drive): Record<string, number> {
  const pool = status?.agent?.pool
  if (!pool || pool.capacity === 0) return {}
  const shares: Record<string, number> = { 'the space': pool.used / pool.capacity }
  if (pool.metadataUsed !== undefined) shares['the metadata space'] = pool.metadataUsed
  return shares
}
