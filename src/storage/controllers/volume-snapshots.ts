import { isDeepStrictEqual } from 'node:util'
import { Snapshot, snapshotFinalizer, type Plex, type Volume } from '../../api/index.ts'
import { Exhausted, NotFound, type CarbonadoError, type ReconcileResult } from '../../base/index.ts'
import { describeShortfall, remedyFor } from '../../guarantee/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import type { DrivePromises } from './drive-promises.ts'
import { isSettled } from './drive-space.ts'
import { driveProblem } from './placement.ts'
import { withSnapshot, type PlexSpec } from './plex-spec.ts'
import type { StorageEvents } from './storage-events.ts'
import type { StorageView } from './storage-view.ts'
import { snapshotStatus, snapshotStatusPatch } from './volume-status.ts'

/** Milliseconds until a release is looked at again that waits for something no event tells of. */
export const releaseRetry = 500

/** The snapshots of volumes: which are asked of a plex, and what their objects say. */
export class VolumeSnapshots {
  readonly #parts: { store: ResourceStore; view: StorageView; events: StorageEvents }
  readonly #promises: DrivePromises

  constructor(parts: { store: ResourceStore; view: StorageView; events: StorageEvents }, promises: DrivePromises) {
    this.#parts = parts
    this.#promises = promises
  }

  /** Snapshots with those that are to go but are still read by an unfinished clone made to look as if they stayed. */
  async withPinned(snapshots: Snapshot[], plex: Plex): Promise<Snapshot[]> {
    const pinned = new Set(
      this.#parts.view.plexes
        .items()
        .filter(
          ({ spec, status, metadata }) =>
            spec.source?.kind === 'Snapshot' &&
            status?.madeAt === undefined &&
            metadata.deletionTimestamp === undefined,
        )
        .map(({ spec }) => spec.source!.uid),
    )
    return snapshots.map((snapshot) => {
      const { uid, deletionTimestamp } = snapshot.metadata
      const isThere = plex.spec.snapshots.some((entry) => entry.uid === uid)
      if (!deletionTimestamp || !isThere || !pinned.has(uid!)) return snapshot
      const { deletionTimestamp: _, ...metadata } = snapshot.metadata
      return { ...snapshot, metadata }
    })
  }

  /** The spec with the snapshots that are still to be taken and that fit; `refused` are the others, by their uid. */
  async add(
    plex: Plex,
    before: PlexSpec,
    snapshots: Snapshot[],
  ): Promise<{ spec: PlexSpec; refused: Map<string, CarbonadoError> }> {
    let spec = before
    const refused = new Map<string, CarbonadoError>()
    for (const snapshot of this.#wantedSnapshots(snapshots, spec)) {
      if (!(await this.#hasSnapshotFinalizer(snapshot))) continue
      const added = this.#trySnapshot(plex, spec, snapshot)
      if ('spec' in added) spec = added.spec
      else if ('refused' in added) refused.set(snapshot.metadata.uid!, added.refused)
    }
    return { spec, refused }
  }

  #wantedSnapshots(snapshots: Snapshot[], spec: PlexSpec): Snapshot[] {
    const known = new Set(spec.snapshots.map(({ uid }) => uid))
    return snapshots
      .filter(({ metadata, status }) => {
        const isNew = status === undefined || status.phase === 'Pending'
        return isNew && !metadata.deletionTimestamp && !known.has(metadata.uid!)
      })
      .sort((one, other) => (one.metadata.creationTimestamp! < other.metadata.creationTimestamp! ? -1 : 1))
  }

  async #hasSnapshotFinalizer({ metadata }: Snapshot): Promise<boolean> {
    const { finalizers = [], name, resourceVersion } = metadata
    if (finalizers.includes(snapshotFinalizer)) return true
    const patch = { metadata: { finalizers: [...finalizers, snapshotFinalizer] } }
    await this.#parts.store.patch(Snapshot, { name }, patch, { resourceVersion })
    return false
  }

  #trySnapshot(
    plex: Plex,
    spec: PlexSpec,
    snapshot: Snapshot,
  ): { spec: PlexSpec } | { refused: CarbonadoError } | { later: true } {
    const { view } = this.#parts
    const { groupName } = snapshot.spec
    const group = groupName === undefined ? undefined : view.groups.get({ name: groupName })
    const drive = view.drives.get({ name: spec.driveName })
    const what = `snapshot ${snapshot.metadata.name}`
    if (groupName !== undefined && !group) {
      return { refused: new NotFound(`${what}: snapshot group ${groupName} does not exist`) }
    }
    const problem = drive ? driveProblem(drive) : `drive ${spec.driveName} is not known`
    if (problem !== undefined) {
      return { refused: new Exhausted(`${what} cannot be taken: ${problem}`, { remedy: 'See `dctl drive get`.' }) }
    }
    const wanted = withSnapshot(spec, snapshot, group)
    const result = this.#promises.promise(plex, wanted)
    if (result.fits) return { spec: wanted }
    const isDriveSettled = isSettled(spec, plex.status, drive) && !this.#promises.settling().includes(spec.driveName)
    if (!isDriveSettled) return { later: true }
    const texts = result.shortfalls.map((each) => describeShortfall(each, `drive ${spec.driveName}`))
    return {
      refused: new Exhausted(
        `${what} cannot be taken: with what volume ${spec.volumeName} may then write anew it ${texts.join('; ')}`,
        { remedy: remedyFor(result.shortfalls) },
      ),
    }
  }

  /** Writes what snapshots are to say, and lets those go of which nothing is left. */
  async report(
    snapshots: Snapshot[],
    volume: Volume | undefined,
    plex: Plex | undefined,
    failed: Map<string, CarbonadoError>,
  ): Promise<ReconcileResult> {
    let isWaiting = false
    for (const snapshot of snapshots) {
      const { name, uid, resourceVersion } = snapshot.metadata
      if (this.#isReleased(snapshot, plex)) {
        const finalizers = (snapshot.metadata.finalizers ?? []).filter((each) => each !== snapshotFinalizer)
        await this.#parts.store.patch(Snapshot, { name }, { metadata: { finalizers } }, { resourceVersion })
        continue
      }
      isWaiting ||= snapshot.metadata.deletionTimestamp !== undefined
      const refused = failed.get(uid!)
      const status = snapshotStatus(snapshot, volume, plex, refused)
      if (refused) this.#parts.events.refused(Snapshot, snapshot, 'SnapshotRefused', refused)
      if (isDeepStrictEqual(status, snapshot.status)) continue
      const options = { subresource: 'status', resourceVersion } as const
      await this.#parts.store.patch(Snapshot, { name }, snapshotStatusPatch(status), options)
    }
    return isWaiting ? { requeueAfter: releaseRetry } : { done: true }
  }

  /** Whether nothing of a snapshot that is to go is on a drive any more, as its agent says about this very spec. */
  #isReleased({ metadata }: Snapshot, plex: Plex | undefined): boolean {
    if (!metadata.deletionTimestamp || !metadata.finalizers?.includes(snapshotFinalizer)) return false
    if (!plex) return true
    const { spec, status } = plex
    if (spec.snapshots.some(({ uid }) => uid === metadata.uid)) return false
    if (status?.snapshots.some(({ uid }) => uid === metadata.uid)) return false
    return status !== undefined && status.generation >= (plex.metadata.generation ?? 0)
  }
}
