import { isDeepStrictEqual } from 'node:util'
import { Plex, plexFinalizer, Snapshot, Volume, VolumeAttachment, volumeFinalizer } from '../../api/index.ts'
import { CarbonadoError, Conflict, Exhausted, NotFound, type ReconcileResult } from '../../base/index.ts'
import {
  describeShortfall,
  iopsRates,
  remedyFor,
  type CapacityLedger,
  type Fit,
  type IopsRates,
} from '../../guarantee/index.ts'
import { findObject, isStale, type ResourceStore } from '../../store/index.ts'
import { forceAnnotation } from '../force-annotation.ts'
import { plexName } from '../plex-names.ts'
import { CloneSnapshots } from './clone-snapshots.ts'
import { DrivePromises } from './drive-promises.ts'
import { amountsOf, driveTotals, type PlexShare } from './drive-space.ts'
import { choosePlace } from './placement.ts'
import { snapshotSource, sourceOf } from './plex-source.ts'
import { promiseOwner, specPatch, wantedShape, withoutReleased, type PlexSpec } from './plex-spec.ts'
import type { StorageEvents } from './storage-events.ts'
import type { StorageView } from './storage-view.ts'
import { releaseRetry, VolumeSnapshots } from './volume-snapshots.ts'
import { volumeStatus, volumeStatusPatch } from './volume-status.ts'

/** What the volume controller works with. */
export interface VolumeControllerParts {
  store: ResourceStore
  view: StorageView
  ledger: CapacityLedger
  events: StorageEvents
  /** Snapshots of a volume that are known. */
  snapshotsOf: (volumeName: string) => Snapshot[]
  /** Told of a volume that waits for room, so that it is looked at again when there is some. */
  onWaiting: (volumeName: string) => void
}

/** A tier by its name and what it gives. */
interface Tier {
  name: string | undefined
  rates: IopsRates
}

/** Milliseconds until a decision is tried again whose object was changed meanwhile; its change usually comes first. */
const staleRetry = 20
/**
 * Gives volumes their plexes, and plexes their size, rates and snapshots. One call per volume at a time.
 *
 * **Why a drive is never promised twice over.** Everything that takes space or IOPS of a drive stands in the spec of a
 * plex, and only this controller writes it. Before it writes, the ledger checks and records the whole of what the plex
 * will take in one step; the ledger is filled from the plexes before the first decision, and gives back only what a
 * plex, read from the store, no longer says, or when the plex is gone.
 *
 * **Why nothing is leaked by a crash.** A volume has this controller's finalizer before its first plex is made, a plex
 * its agent's from the first moment. Each of them goes when what it stands for is gone, and every step is found again
 * from the objects: a plex without its volume is deleted, a snapshot is released when its plex says that it has none.
 */
export class VolumeController {
  readonly #parts: VolumeControllerParts
  readonly #promises: DrivePromises
  readonly #snapshots: VolumeSnapshots
  readonly #clones: CloneSnapshots

  constructor(parts: VolumeControllerParts) {
    this.#parts = parts
    this.#promises = new DrivePromises(parts)
    this.#snapshots = new VolumeSnapshots(parts, this.#promises)
    this.#clones = new CloneSnapshots(parts.store)
  }

  /** Brings plexes and snapshots of a volume in line with its object. */
  async reconcile(name: string): Promise<ReconcileResult> {
    try {
      await this.#clones.removeUnneeded(this.#parts.snapshotsOf(name))
      const volume = await findObject(this.#parts.store, Volume, { name })
      const plex = await this.#ownPlex(name, volume)
      if (plex === 'of another') return { done: true }
      if (!volume) return await this.#releaseSnapshots(name, plex)
      if (volume.metadata.deletionTimestamp) return await this.#release(volume, plex)
      return await this.#bringUp(volume, plex)
    } catch (error) {
      if (isStale(error)) return { requeueAfter: staleRetry }
      throw error
    }
  }

  /** The volume's plex as it is now. One that was left by an earlier volume of that name is deleted. */
  async #ownPlex(name: string, volume: Volume | undefined): Promise<Plex | undefined | 'of another'> {
    const { store } = this.#parts
    const plex = await findObject(store, Plex, { name: plexName(name, 0) })
    if (!plex || plex.spec.volumeUid === volume?.metadata.uid) return plex
    if (!plex.metadata.deletionTimestamp) await store.delete(Plex, plex.metadata, { uid: plex.metadata.uid })
    if (volume) {
      const earlier = new Conflict(`an earlier volume ${name} is still being removed from node ${plex.spec.nodeName}`)
      await this.#writeStatus(volume, volumeStatus(volume, undefined, undefined, earlier))
    }
    return 'of another'
  }

  async #bringUp(volume: Volume, plex: Plex | undefined): Promise<ReconcileResult> {
    if (!(await this.#hasFinalizer(volume))) return { done: true }
    const tier = this.#tierOf(volume)
    if (tier instanceof CarbonadoError) {
      await this.#writeStatus(volume, volumeStatus(volume, plex, volume.status?.perfTierName, tier))
      return { done: true }
    }
    if (plex?.metadata.deletionTimestamp) return { done: true }
    if (!plex) return this.#place(volume, tier)
    return this.#shape(volume, plex, tier)
  }

  /** Sets the finalizer; that change leads here again. */
  async #hasFinalizer({ metadata }: Volume): Promise<boolean> {
    const { finalizers = [], name, resourceVersion } = metadata
    if (finalizers.includes(volumeFinalizer)) return true
    const patch = { metadata: { finalizers: [...finalizers, volumeFinalizer] } }
    await this.#parts.store.patch(Volume, { name }, patch, { resourceVersion })
    return false
  }

  #tierOf({ spec: { perfTierName: name } }: Volume): Tier | CarbonadoError {
    if (name === undefined) return { name, rates: iopsRates(undefined) }
    const tier = this.#parts.view.tiers.get({ name })
    if (tier) return { name, rates: iopsRates(tier) }
    return new NotFound(`perf-tier ${name} does not exist`, { remedy: 'Choose one from `dctl perf-tier list`.' })
  }

  async #place(volume: Volume, tier: Tier): Promise<ReconcileResult> {
    const { store, view, ledger } = this.#parts
    const { metadata, spec } = volume
    const source = await sourceOf(store, volume)
    if (source instanceof CarbonadoError) return this.#refuse(volume, source)
    const snapshot = source?.kind === 'Plex' ? await this.#clones.find(volume) : undefined
    const owner = promiseOwner(metadata.uid!, 0)
    const placement = this.#choose(volume, owner, { ...wantedShape(volume, tier.rates), source, snapshots: [] })
    if ('refused' in placement) return this.#refuse(volume, placement.refused)
    const isCopied = source?.kind === 'Plex' && source.driveName !== placement.driveName
    if (isCopied && !isTaken(snapshot)) return this.#awaitCopy(volume, snapshot)
    const filledFrom = isCopied ? snapshotSource(snapshot!, source) : source
    const drive = view.drives.get({ name: placement.driveName })!
    const plexSpec: PlexSpec = {
      volumeName: metadata.name,
      volumeUid: metadata.uid!,
      nodeName: drive.spec.nodeName,
      driveName: placement.driveName,
      poolId: drive.status!.agent!.pool!.id,
      ...wantedShape(volume, tier.rates),
      ...(filledFrom ? { source: filledFrom } : {}),
      snapshots: [],
    }
    const promised = ledger.promise(
      owner,
      plexSpec.driveName,
      amountsOf(plexSpec, undefined, drive),
      driveTotals(drive),
    )
    if (!promised.fits) return { requeueAfter: staleRetry }
    const plex = await store.create(Plex, {
      metadata: { name: plexName(metadata.name, 0), finalizers: [plexFinalizer], labels: metadata.labels },
      spec: plexSpec,
    })
    await this.#writeStatus(volume, volumeStatus(volume, plex, spec.perfTierName, undefined))
    return { done: true }
  }

  /** Chooses a drive; its promise is made by the caller in the same turn. */
  #choose(
    volume: Volume,
    owner: string,
    share: Omit<PlexShare, 'driveName'>,
  ): { driveName: string } | { refused: CarbonadoError } {
    const { view, ledger } = this.#parts
    const { spec, metadata } = volume
    const own = ledger.of(owner)
    const candidates = view.drives.items().map((drive) => {
      const promised = ledger.promisedOn(drive.metadata.name)
      if (own?.nodeName === drive.metadata.name)
        for (const key of ['iops', 'space'] as const) promised[key] -= own.amounts[key]
      return { drive, promised }
    })
    return choosePlace(
      {
        who: `volume ${metadata.name}`,
        askOf: (drive) => amountsOf({ ...share, driveName: drive.metadata.name }, undefined, undefined),
        nodeNames: spec.nodeNames,
        preferredNodes: spec.preferredNodeNames,
        selector: spec.selector,
        preferredDrive: share.source?.driveName,
      },
      candidates,
      view.nodes.items(),
    )
  }

  /** Why a clone that was placed on another drive than its source cannot be copied there yet. */
  async #awaitCopy(volume: Volume, snapshot: Snapshot | undefined): Promise<ReconcileResult> {
    const { volumeName } = volume.spec.source as { volumeName: string }
    const { message, refused, requeueAfter } = await this.#clones.ask(volume, volumeName, snapshot)
    if (refused) await this.#refuse(volume, refused)
    else await this.#writeStatus(volume, { ...volumeStatus(volume, undefined, undefined, undefined), message })
    return requeueAfter === undefined ? { done: true } : { requeueAfter }
  }

  async #refuse(volume: Volume, problem: CarbonadoError): Promise<ReconcileResult> {
    this.#parts.ledger.release(promiseOwner(volume.metadata.uid!, 0))
    this.#parts.onWaiting(volume.metadata.name)
    const settling = this.#promises.settling()
    if (settling.length > 0 && problem.code === 'Exhausted') {
      const { phase, generation, plexes, inSync } = volumeStatus(volume, undefined, undefined, undefined)
      await this.#writeStatus(volume, { phase, generation, plexes, inSync, message: measurementOf(settling) })
      return { done: true }
    }
    if (volume.status?.message !== problem.message) this.#parts.events.refused(Volume, volume, 'VolumeRefused', problem)
    await this.#writeStatus(volume, volumeStatus(volume, undefined, undefined, problem))
    return { done: true }
  }

  /** Brings size, rates, snapshots and restore of a plex in line, as far as there is room. */
  async #shape(volume: Volume, plex: Plex, tier: Tier): Promise<ReconcileResult> {
    const { store, snapshotsOf } = this.#parts
    const snapshots = snapshotsOf(volume.metadata.name)
    const restore = this.#restoreOf(volume, snapshots)
    let spec = withoutReleased(plex.spec, await this.#snapshots.withPinned(snapshots, plex), restore)
    this.#promises.record(plex, spec)
    const shaped = this.#tryShape(volume, plex, spec, tier)
    spec = shaped.spec
    const added = await this.#snapshots.add(plex, spec, snapshots)
    spec = added.spec
    const patch = specPatch(plex.spec, spec)
    const { name, resourceVersion } = plex.metadata
    const current = patch ? await store.patch(Plex, { name }, patch, { resourceVersion }) : plex
    await this.#writeStatus(volume, volumeStatus(volume, current, shaped.tierName, shaped.problem))
    return this.#snapshots.report(snapshots, volume, current, added.refused)
  }

  #restoreOf({ spec: { restore }, status }: Volume, snapshots: Snapshot[]): PlexSpec['restore'] {
    if (!restore) return undefined
    const snapshot = snapshots.find(({ metadata }) => metadata.name === restore.snapshotName)
    if (!snapshot || restore.requestId === status?.restoredRequestId) return undefined
    return { snapshotUid: snapshot.metadata.uid!, requestId: restore.requestId }
  }

  /** Size and tier that the volume asks for; of those that do not fit the earlier ones stay. */
  #tryShape(
    volume: Volume,
    plex: Plex,
    spec: PlexSpec,
    tier: Tier,
  ): { spec: PlexSpec; tierName: string | undefined; problem?: CarbonadoError } {
    const { size, ...rates } = wantedShape(volume, tier.rates)
    const { iopsCap: _cap, ...rest } = spec
    const newSize = Math.max(size, spec.size)
    const earlierName = volume.status?.perfTierName
    const attempts: { spec: PlexSpec; tierName: string | undefined }[] = [
      { spec: { ...rest, ...rates, size: newSize }, tierName: tier.name },
      { spec: { ...rest, ...rates }, tierName: tier.name },
      { spec: { ...spec, size: newSize }, tierName: earlierName },
    ]
    let problem: CarbonadoError | undefined
    for (const attempt of attempts) {
      const isSame = isDeepStrictEqual(attempt.spec, spec)
      const result = isSame ? { fits: true as const } : this.#promises.promise(plex, attempt.spec)
      if (result.fits) return this.#shaped(volume, attempt, problem)
      problem ??= this.#doesNotFit(volume, spec.driveName, result)
    }
    return this.#shaped(volume, { spec, tierName: earlierName }, problem)
  }

  #shaped<T extends { spec: PlexSpec }>(
    volume: Volume,
    attempt: T,
    problem: CarbonadoError | undefined,
  ): T & { problem?: CarbonadoError } {
    if (!problem) return attempt
    this.#parts.onWaiting(volume.metadata.name)
    if (this.#promises.settling().includes(attempt.spec.driveName)) return attempt
    if (volume.status?.message !== problem.message) this.#parts.events.refused(Volume, volume, 'ChangeRefused', problem)
    return { ...attempt, problem }
  }

  #doesNotFit(volume: Volume, driveName: string, result: Fit & { fits: false }): CarbonadoError {
    const texts = result.shortfalls.map((each) => describeShortfall(each, `drive ${driveName}`))
    return new Exhausted(`volume ${volume.metadata.name} stays as it was: it ${texts.join('; ')}`, {
      remedy: remedyFor(result.shortfalls),
      details: { drive: driveName, shortfalls: result.shortfalls },
    })
  }

  /** Snapshots of a volume that is gone; admission lets no volume go before them, so this repairs. */
  async #releaseSnapshots(name: string, plex: Plex | undefined): Promise<ReconcileResult> {
    return this.#snapshots.report(this.#parts.snapshotsOf(name), undefined, plex, new Map())
  }

  /** Detach first, then snapshots, then the plex, then the volume. */
  async #release(volume: Volume, plex: Plex | undefined): Promise<ReconcileResult> {
    const { store, ledger } = this.#parts
    const { name, uid } = volume.metadata
    if (!volume.metadata.finalizers?.includes(volumeFinalizer)) return { done: true }
    const waitsFor = await this.#whatHolds(volume, plex)
    if (waitsFor !== undefined) {
      if (plex) await this.#shapeWhileReleasing(volume, plex)
      const holding = new Conflict(waitsFor)
      await this.#writeStatus(volume, {
        ...volumeStatus(volume, plex, volume.status?.perfTierName, holding),
        phase: 'Releasing',
      })
      return { requeueAfter: releaseRetry }
    }
    if (plex) return this.#releasePlex(volume, plex)
    ledger.release(promiseOwner(uid!, 0))
    const finalizers = volume.metadata.finalizers.filter((each) => each !== volumeFinalizer)
    const { resourceVersion } = volume.metadata
    await store.patch(Volume, { name }, { metadata: { finalizers } }, { resourceVersion })
    return { done: true }
  }

  /** What a volume that is to go still waits for; undefined when its plex may go. */
  async #whatHolds({ metadata: { name, uid } }: Volume, plex: Plex | undefined): Promise<string | undefined> {
    const { store, view } = this.#parts
    const attachment = await findObject(store, VolumeAttachment, { name })
    if (attachment?.spec.volumeUid === uid) return `waiting for node ${attachment!.spec.nodeName} to detach it`
    const snapshots = await store.list(Snapshot, { fieldSelector: `spec.volumeName=${name}` })
    if (snapshots.items.length > 0) {
      return `waiting for its snapshots to go: ${snapshots.items.map(({ metadata }) => metadata.name).join(', ')}`
    }
    const clone = view.plexes
      .items()
      .find(({ spec, status }) => spec.source?.uid === plex?.metadata.uid && status?.madeAt === undefined)
    return plex && clone ? `waiting for ${clone.spec.volumeName} to be cloned from it` : undefined
  }

  /** Snapshots of a volume that is to go are released as ever, and none is begun. */
  async #shapeWhileReleasing(volume: Volume, plex: Plex): Promise<void> {
    const { store, snapshotsOf } = this.#parts
    const snapshots = snapshotsOf(volume.metadata.name)
    const patch = specPatch(
      plex.spec,
      withoutReleased(plex.spec, await this.#snapshots.withPinned(snapshots, plex), undefined),
    )
    const { name, resourceVersion } = plex.metadata
    const current = patch ? await store.patch(Plex, { name }, patch, { resourceVersion }) : plex
    await this.#snapshots.report(snapshots, volume, current, new Map())
  }

  async #releasePlex(volume: Volume, plex: Plex): Promise<ReconcileResult> {
    const { store, view } = this.#parts
    const { name, uid, deletionTimestamp, resourceVersion } = plex.metadata
    if (!deletionTimestamp) await store.delete(Plex, { name }, { uid })
    const isForced = volume.metadata.annotations?.[forceAnnotation] === 'true'
    const isReachable = view.nodes.get({ name: plex.spec.nodeName })?.status?.ready?.state ?? false
    if (deletionTimestamp && isForced && !isReachable) {
      await store.patch(Plex, { name }, { metadata: { finalizers: null } }, { resourceVersion })
    }
    const waiting = new Conflict(`waiting for the agent of node ${plex.spec.nodeName} to delete its data`)
    await this.#writeStatus(volume, {
      ...volumeStatus(volume, plex, volume.status?.perfTierName, waiting),
      phase: 'Releasing',
    })
    return { requeueAfter: releaseRetry }
  }

  async #writeStatus({ metadata, status: written }: Volume, status: NonNullable<Volume['status']>): Promise<void> {
    if (isDeepStrictEqual(written, status)) return
    const { name, uid } = metadata
    const patch = { metadata: { uid }, ...volumeStatusPatch(status) }
    await this.#parts.store.patch(Volume, { name }, patch, { subresource: 'status' })
  }
}

function isTaken(snapshot: Snapshot | undefined): boolean {
  return snapshot?.status?.phase === 'Ready' && snapshot.metadata.deletionTimestamp === undefined
}

function measurementOf(drives: string[]): string {
  return `waiting for a measurement of drive ${drives.join(', ')}`
}
