import type { Plex } from '../../api/index.ts'
import type { CapacityLedger, Fit } from '../../guarantee/index.ts'
import { amountsOf, driveTotals, isSettled } from './drive-space.ts'
import { promiseOwnerOf, type PlexSpec } from './plex-spec.ts'
import type { StorageView } from './storage-view.ts'

/** What plexes are promised on drives. */
export class DrivePromises {
  readonly #ledger: CapacityLedger
  readonly #view: StorageView

  constructor({ ledger, view }: { ledger: CapacityLedger; view: StorageView }) {
    this.#ledger = ledger
    this.#view = view
  }

  /** Records what a plex takes on its drive, whether it fits or not. */
  record(plex: Plex, spec: PlexSpec): void {
    const [ledger, view] = [this.#ledger, this.#view]
    const drive = view.drives.get({ name: spec.driveName })
    ledger.record(promiseOwnerOf(plex), spec.driveName, amountsOf(spec, plex.status, drive))
  }

  /** Promises the whole of what a plex will take on its drive, if it fits beside what others have. */
  promise(plex: Plex, spec: PlexSpec): Fit {
    const [ledger, view] = [this.#ledger, this.#view]
    const drive = view.drives.get({ name: spec.driveName })
    const total = drive ? driveTotals(drive) : { bandwidth: 0, interfaces: 0, iops: 0, space: 0 }
    return ledger.promise(promiseOwnerOf(plex), spec.driveName, amountsOf(spec, plex.status, drive), total)
  }

  /** Drives whose measurement does not contain all snapshots and clones on them yet. */
  settling(): string[] {
    const { plexes, drives } = this.#view
    const unsettled = plexes
      .items()
      .filter(({ spec, status }) => !isSettled(spec, status, drives.get({ name: spec.driveName })))
    return [...new Set(unsettled.map(({ spec }) => spec.driveName))]
  }
}
