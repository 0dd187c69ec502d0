import { hostname } from 'node:os'
import { Drive, Node, PerfTier, Plex, Snapshot, SnapshotGroup, Volume, VolumeAttachment } from '../api/index.ts'
import { controlQueues, type Logger, type WorkQueue } from '../base/index.ts'
import { CapacityLedger } from '../guarantee/index.ts'
import { createInformer, EventRecorder, type Informer, type InformerOf, type ResourceStore } from '../store/index.ts'
import { cloneAnnotation } from './clone-annotation.ts'
import {
  amountsOf,
  promiseOwner,
  promiseOwnerOf,
  reconcileDriveCapacity,
  reconcileNodeStorage,
  SnapshotGroupController,
  StorageEvents,
  VolumeController,
  warnOfFilling,
  type StorageView,
} from './controllers/index.ts'

export { storageAdmission } from './admission/index.ts'

/** Settings of the storage controllers. */
export interface StorageControllersOptions {
  logger: Logger
  /** Copies that others use, too; the controllers have copies of their own unless told. */
  informerOf?: InformerOf
  /** Who records events, beside the controller's name; the host's name unless told. */
  instance?: string
}

/** The running controllers. */
export interface StorageControllers {
  /** Stops taking changes and waits for what is being done. */
  stop(): Promise<void>
}

/** Milliseconds for which counts (capacity of drives and nodes) gather before they are written. */
const countsDelay = 100

/**
 * Starts the controllers of storage: volumes with their plexes and snapshots, snapshot groups, capacity of drives and
 * nodes. Resolves once their view of the store is complete and work has begun. Only one process may run them at a time.
 */
export async function startStorageControllers(
  store: ResourceStore,
  options: StorageControllersOptions,
): Promise<StorageControllers> {
  const controllers = new Controllers(store, options)
  await controllers.start()
  return controllers
}

class Controllers implements StorageControllers {
  readonly #view: StorageView
  readonly #ledger: CapacityLedger
  readonly #recorder: EventRecorder
  readonly #events: StorageEvents
  readonly #queues: Record<'volume' | 'group' | 'drive' | 'node', WorkQueue>
  readonly #snapshotsOf = new Map<string, Set<string>>()
  /** Volumes that wait for room. */
  readonly #waiting = new Set<string>()
  #started = false

  constructor(store: ResourceStore, { logger, informerOf, instance = hostname() }: StorageControllersOptions) {
    const informer: InformerOf = informerOf ?? ((kind) => createInformer(store, kind, { logger }))
    const view = (this.#view = {
      volumes: informer(Volume),
      plexes: informer(Plex),
      snapshots: informer(Snapshot),
      groups: informer(SnapshotGroup),
      attachments: informer(VolumeAttachment),
      drives: informer(Drive),
      nodes: informer(Node),
      tiers: informer(PerfTier),
    })
    const ledger = (this.#ledger = new CapacityLedger((driveName) => this.#driveShareChanged(driveName)))
    this.#recorder = new EventRecorder(store, { controller: 'carbonado.io/storage', instance }, logger)
    const events = (this.#events = new StorageEvents(this.#recorder))
    const volume = new VolumeController({
      store,
      view,
      ledger,
      events,
      snapshotsOf: (name) => this.#snapshots(name),
      onWaiting: (name) => this.#waiting.add(name),
    })
    const group = new SnapshotGroupController(store, view, events)
    const queue = controlQueues(logger)
    this.#queues = {
      volume: queue('volume', (key) => volume.reconcile(key)),
      group: queue('snapshot group', (key) => group.reconcile(key)),
      drive: queue('capacity of a drive', (key) => reconcileDriveCapacity(key, { store, view, ledger })),
      node: queue('storage capacity of a node', (key) => reconcileNodeStorage(key, { store, view, ledger })),
    }
  }

  /** Drives first, so that plexes are counted with what was measured; then plexes, before anything is decided. */
  async start(): Promise<void> {
    this.#follow()
    const { drives, plexes, ...others } = this.#view
    await drives.start()
    await Promise.all([plexes, ...Object.values(others)].map((informer) => informer.start()))
    for (const plex of plexes.items()) this.#recordPlex(plex)
    this.#started = true
    for (const { metadata } of this.#view.volumes.items()) this.#queues.volume.add(metadata.name)
    for (const { spec } of plexes.items()) this.#queues.volume.add(spec.volumeName)
    for (const { spec } of this.#view.snapshots.items()) this.#queues.volume.add(spec.volumeName)
    for (const { metadata } of this.#view.groups.items()) this.#queues.group.add(metadata.name)
    for (const drive of drives.items()) this.#driveChanged(drive, undefined)
    for (const { metadata } of this.#view.nodes.items()) this.#queues.node.addAfter(metadata.name, countsDelay)
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.#view).map((informer: Informer<never>) => informer.stop()))
    await Promise.all(Object.values(this.#queues).map((queue) => queue.stop()))
    await this.#recorder.flush()
  }

  #follow(): void {
    const { volumes, plexes, snapshots, groups, attachments, drives, nodes, tiers } = this.#view
    volumes.onChange(({ type, object, previous }) => {
      if (type === 'DELETED') this.#volumeGone(object)
      if (type === 'DELETED' || object.status?.phase !== previous?.status?.phase) this.#cloneChanged(object)
      this.#addVolume(object.metadata.name)
      this.#addGroupsOf(object.metadata.name)
    })
    plexes.onChange(({ type, object }) => {
      if (type === 'DELETED') this.#ledger.release(promiseOwnerOf(object))
      this.#addVolume(object.spec.volumeName)
    })
    snapshots.onChange(({ type, object }) => this.#snapshotChanged(type, object))
    groups.onChange(({ object }) => this.#started && this.#queues.group.add(object.metadata.name))
    attachments.onChange(({ object }) => this.#addVolume(object.spec.volumeName))
    drives.onChange(({ object, previous }) => this.#driveChanged(object, previous))
    nodes.onChange(({ object, previous }) => {
      if (!this.#started) return
      this.#queues.node.addAfter(object.metadata.name, countsDelay)
      if (object.status?.ready?.state !== previous?.status?.ready?.state) this.#addWaiting()
    })
    tiers.onChange(({ object }) => {
      if (!this.#started) return
      for (const { metadata, spec } of volumes.items()) {
        if (spec.perfTierName === object.metadata.name) this.#addVolume(metadata.name)
      }
    })
  }

  #recordPlex(plex: Plex): void {
    const drive = this.#view.drives.get({ name: plex.spec.driveName })
    this.#ledger.record(promiseOwnerOf(plex), plex.spec.driveName, amountsOf(plex.spec, plex.status, drive))
  }

  /** A volume that went without ever having a plex may have been promised something. */
  #volumeGone({ metadata }: Volume): void {
    const owner = promiseOwner(metadata.uid!, 0)
    if (!this.#view.plexes.items().some((plex) => promiseOwnerOf(plex) === owner)) this.#ledger.release(owner)
    this.#waiting.delete(metadata.name)
  }

  #snapshotChanged(type: 'ADDED' | 'MODIFIED' | 'DELETED', { metadata, spec }: Snapshot): void {
    const names = this.#snapshotsOf.get(spec.volumeName) ?? new Set()
    if (type === 'DELETED') names.delete(metadata.name)
    else names.add(metadata.name)
    if (names.size > 0) this.#snapshotsOf.set(spec.volumeName, names)
    else this.#snapshotsOf.delete(spec.volumeName)
    this.#addVolume(spec.volumeName)
    if (spec.groupName !== undefined && this.#started) this.#queues.group.add(spec.groupName)
    const cloneName = metadata.annotations?.[cloneAnnotation]
    if (cloneName !== undefined && type !== 'DELETED') this.#addVolume(cloneName)
  }

  /** Its source may have a snapshot that was for it. */
  #cloneChanged({ spec: { source } }: Volume): void {
    if (source && 'volumeName' in source) this.#addVolume(source.volumeName)
  }

  #snapshots(volumeName: string): Snapshot[] {
    const names = this.#snapshotsOf.get(volumeName) ?? []
    return [...names].flatMap((name) => this.#view.snapshots.get({ name }) ?? [])
  }

  /** A new measurement settles what was counted beforehand. */
  #driveChanged(drive: Drive, previous: Drive | undefined): void {
    if (!this.#started) return
    warnOfFilling(drive, previous, this.#events)
    const measured = (each: Drive | undefined): string | undefined => each?.status?.agent?.pool?.measuredAt
    const { name } = drive.metadata
    if (measured(drive) !== measured(previous)) {
      for (const { spec } of this.#view.plexes.items()) if (spec.driveName === name) this.#addVolume(spec.volumeName)
    }
    this.#driveShareChanged(name)
  }

  #driveShareChanged(driveName: string): void {
    if (!this.#started) return
    this.#queues.drive.addAfter(driveName, countsDelay)
    const nodeName = this.#view.drives.get({ name: driveName })?.spec.nodeName
    if (nodeName !== undefined) this.#queues.node.addAfter(nodeName, countsDelay)
    this.#addWaiting()
  }

  #addWaiting(): void {
    for (const name of this.#waiting) this.#queues.volume.addAfter(name, countsDelay)
    this.#waiting.clear()
  }

  #addGroupsOf(volumeName: string): void {
    if (!this.#started) return
    for (const { metadata, spec } of this.#view.groups.items()) {
      if (spec.volumeNames.includes(volumeName)) this.#queues.group.add(metadata.name)
    }
  }

  #addVolume(name: string): void {
    if (this.#started) this.#queues.volume.add(name)
  }
}
