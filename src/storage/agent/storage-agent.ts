import { hostname } from 'node:os'
import type { Readable } from 'node:stream'
import { Drive, Node, Plex, VolumeAttachment, type KindDefinition, type KubeObject } from '../../api/index.ts'
import { WorkQueue, type Logger, type ReconcileResult } from '../../base/index.ts'
import { createInformer, EventRecorder, InformerIndex, type Informer, type ResourceStore } from '../../store/index.ts'
import { maximumVolumesOf } from '../csi/attachment-service.ts'
import type { PoolFormat } from '../pool-format.ts'
import { AttachedVolumes, type AttachedDevice } from './attached-volumes.ts'
import { AttachmentReconciler } from './attachment-reconciler.ts'
import { abilityFrom } from '../io-limits/guarded.ts'
import type { DriveAbility, GuardedVolume } from '../io-limits/index.ts'
import { inspectDevice, type BlockDevice } from './block-device.ts'
import { calibrate, type Calibrate } from './calibration.ts'
import { DriveCopies } from './drive-copies.ts'
import { DriveReconciler } from './drive-reconciler.ts'
import { growFilesystem } from './filesystem-growth.ts'
import { OpenPools } from './open-pools.ts'
import { PlexReconciler } from './plex-reconciler.ts'
import { PoolMeter } from './pool-meter.ts'
import {
  bootOfNode,
  kernelPublishSystem,
  PublishJournal,
  VolumePublisher,
  type PublishSystem,
} from './publish/index.ts'
import { Quiescer, type WithoutCaps } from './quiesce/quiescer.ts'
import { RisingClock } from './rising-clock.ts'
import { copySnapshot, SnapshotReader, type FetchBlocks } from './snapshot-copy.ts'
import { VolumeAttacher } from './volume-attacher.ts'

/** What the storage of a node is made of. */
export interface StorageAgentOptions {
  nodeName: string
  store: ResourceStore
  /** Formats of pools, the preferred one first. */
  formats: PoolFormat[]
  /** Paths of the whole drives that this node offers. */
  devices: () => Promise<string[]>
  fetchBlocks: FetchBlocks
  /** Folder that remembers what is staged and published here. */
  publishFolder: string
  logger: Logger
  inspect?: (device: string) => Promise<BlockDevice>
  calibrate?: Calibrate
  growFilesystem?: (devicePath: string) => Promise<void>
  /** Lifts the caps of volumes while they are written out before a freeze; absent: there are none. */
  withoutCaps?: WithoutCaps
  /** Bytes per second that a copy of a snapshot may move now, by the uid of what it reads or fills; undefined: as many as it can. */
  copyAllowance?: (id: string) => number | undefined
  /** Where it remembers what it has frozen. */
  quiesceFolder?: string
  publishSystem?: PublishSystem
}

/** Milliseconds for which changes of a pool gather before it is measured. */
const measureDelay = 100
/** Milliseconds between two looks for new drives. */
const discoveryInterval = 30_000
/** Milliseconds for which news of where a volume is mounted gather before it is told. */
const publishedDelay = 200

/**
 * The storage of one node: its drives and the pools on them, its plexes, and the devices of volumes that it uses. It
 * follows the store in the background; while control is away what is attached goes on working.
 */
export class StorageAgent {
  readonly name = 'storage'
  readonly attacher: VolumeAttacher
  /** Mounts volumes of this node for orchestrators. */
  readonly publisher: VolumePublisher
  readonly #options: StorageAgentOptions
  readonly #pools: OpenPools
  readonly #copies: DriveCopies
  readonly #reader: SnapshotReader
  readonly #clock = new RisingClock()
  readonly #meter = new PoolMeter(this.#clock)
  readonly #recorder: EventRecorder
  readonly #quiescer: Quiescer
  readonly #drives: Informer<Drive>
  readonly #plexes: Informer<Plex>
  /** The plex of a volume on this node, by the uid of the volume. */
  readonly #plexOf: (volumeUid: string) => Plex | undefined
  readonly #attachments: Informer<VolumeAttachment>
  readonly #drive: DriveReconciler
  readonly #attached: AttachedVolumes
  readonly #queues: Record<'drive' | 'plex' | 'attachment', WorkQueue>
  /** Pools whose left devices were removed. */
  readonly #tidied = new Set<string>()
  /** Drives that were looked at since the start; before, nothing is said of what lies on them. */
  readonly #seen = new Set<string>()
  readonly #measuring = new Map<string, NodeJS.Timeout>()
  #timer: NodeJS.Timeout | undefined
  #isSynced = false
  #isStopped = false

  constructor(options: StorageAgentOptions) {
    const { nodeName, store, formats, logger } = (this.#options = options)
    const own = <T extends KubeObject>(kind: KindDefinition<T>): Informer<T> =>
      createInformer(store, kind, { selection: { fieldSelector: `spec.nodeName=${nodeName}` }, logger })
    this.#drives = own(Drive)
    this.#plexes = own(Plex)
    this.#attachments = own(VolumeAttachment)
    this.#pools = new OpenPools(formats)
    this.#copies = new DriveCopies(options.copyAllowance ?? (() => undefined))
    this.#reader = new SnapshotReader(this.#pools, this.#copies)
    this.#recorder = new EventRecorder(
      store,
      { controller: 'carbonado.io/storage-agent', instance: hostname() },
      logger,
    )
    const { withoutCaps, quiesceFolder } = options
    this.#quiescer = new Quiescer({
      logger,
      ...(withoutCaps ? { withoutCaps } : {}),
      ...(quiesceFolder === undefined ? {} : { folder: quiesceFolder }),
    })
    this.#drive = new DriveReconciler({
      nodeName,
      store,
      drives: this.#drives,
      pools: this.#pools,
      inspect: options.inspect ?? inspectDevice,
      calibrate: options.calibrate ?? calibrate,
      recorder: this.#recorder,
      meter: this.#meter,
      knownEntries: () => this.#knownEntries(),
      logger,
      onChange: (driveName) => this.#driveChanged(driveName),
    })
    const plex = this.#plexReconciler()
    this.publisher = this.#createPublisher()
    const plexesOfVolume = new InformerIndex(this.#plexes, ({ spec }) => spec.volumeUid)
    this.#plexOf = (volumeUid) => plexesOfVolume.of(volumeUid)[0]
    const attachment = new AttachmentReconciler({
      store,
      plexOf: this.#plexOf,
      pools: this.#pools,
      withPlex: (uid, work) => plex.withPlex(uid, work),
      pathsInUse: (volumeName) => this.publisher.pathsInUse(volumeName),
      logger,
    })
    this.#attached = new AttachedVolumes({
      store,
      nodeName,
      attachments: this.#attachments,
      plexOf: this.#plexOf,
      deviceOf: (each) => attachment.deviceOf(each),
      publishedPaths: (volumeName) => this.publisher.published(volumeName)?.targetPaths ?? [],
    })
    this.attacher = new VolumeAttacher({ store, nodeName, deviceOf: (each) => attachment.deviceOf(each) })
    const queue = (what: string, reconcile: (key: string) => Promise<ReconcileResult>): WorkQueue =>
      new WorkQueue(reconcile, {
        maximumRetryDelay: 5_000,
        onError: (key, err) => logger.warn({ err, key }, `${what} could not be reconciled`),
      })
    this.#queues = {
      drive: queue('drive', (key) => this.#drive.reconcile(key)),
      plex: queue('plex', (key) => plex.reconcile(key)),
      attachment: queue('attachment', (key) => attachment.reconcile(key)),
    }
  }

  /** Whether it has seen its drives and what is to be on them. */
  get isReady(): boolean {
    return this.#isSynced
  }

  /** Begins to follow the store; returns without waiting for control. */
  start(): void {
    this.#drives.onChange(({ object, previous }) => {
      if (this.#isSynced && isNewsForAgent(object, previous)) this.#queues.drive.add(object.metadata.name)
    })
    this.#plexes.onChange(({ object, previous }) => {
      if (isNewsForAgent(object, previous)) this.#addPlex(object)
    })
    this.#attachments.onChange(({ object, previous }) => {
      if (isNewsForAgent(object, previous)) this.#addAttachment(object)
    })
    const informers = [this.#plexes, this.#attachments, this.#drives]
    const synced = Promise.all([
      this.#quiescer.recover(),
      this.publisher.repair(),
      ...informers.map((informer) => informer.start()),
    ])
    synced.then(
      () => this.#onSynced(),
      (error: unknown) => this.#options.logger.error({ err: error }, 'the storage of this node cannot be followed'),
    )
  }

  /** Stops; devices stay as they are. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    for (const timer of this.#measuring.values()) clearTimeout(timer)
    await Promise.all([this.#drives, this.#plexes, this.#attachments].map((informer) => informer.stop()))
    await Promise.all(Object.values(this.#queues).map((queue) => queue.stop()))
    await this.#reader.stop()
    await this.#recorder.flush()
    await this.#pools.closeAll()
  }

  /** Volumes that have a device on this node, with what they are promised and who uses them; and copies under way. */
  guardedVolumes(): GuardedVolume[] {
    return [...this.#attached.guarded(), ...this.#copies.volumes()]
  }

  /** What a drive was measured to give; undefined when it never was. */
  abilityOf(driveName: string): DriveAbility | undefined {
    const calibration = this.#drives.get({ name: driveName })?.status?.agent?.calibration
    return calibration && abilityFrom(calibration)
  }

  /** Blocks of a snapshot on this node, for a node that copies it. */
  snapshotBlocks(uid: string, offset: number, length: number): Promise<Readable> {
    return this.#reader.read(uid, offset, length)
  }

  #createPublisher(): VolumePublisher {
    const { publishFolder, publishSystem = kernelPublishSystem, logger } = this.#options
    return new VolumePublisher({
      journal: new PublishJournal(publishFolder, bootOfNode(), logger),
      system: publishSystem,
      deviceOf: (volumeName) => this.#attached.deviceOf(volumeName),
      onChange: (volumeName) => this.#publishedChanged(volumeName),
      logger,
    })
  }

  /** What is mounted where is told, and a filesystem that has grown. */
  #publishedChanged(volumeName: string): void {
    this.#queues.attachment.addAfter(volumeName, publishedDelay)
    const plex = this.#plexes.items().find(({ spec }) => spec.volumeName === volumeName)
    if (plex?.status?.deviceSize !== undefined) this.#queues.plex.add(plex.metadata.name)
  }

  /** How many volumes orchestrators may use on this node at one time. Throws NotFound and Unavailable. */
  async maximumVolumes(): Promise<number> {
    const { store, nodeName } = this.#options
    return maximumVolumesOf(await store.get(Node, { name: nodeName }))
  }

  /** The device of a volume, once it is there; see AttachedVolumes. Throws NotFound, Conflict and Unavailable. */
  attachedDevice(volumeName: string): Promise<AttachedDevice> {
    return this.#attached.device(volumeName)
  }

  #plexReconciler(): PlexReconciler {
    const { store, logger, fetchBlocks } = this.#options
    return new PlexReconciler({
      store,
      plexes: this.#plexes,
      pools: this.#pools,
      clock: this.#clock,
      usageOf: (entryId) => this.#meter.usageOf(entryId),
      copy: (plex, pool, report) =>
        copySnapshot(plex, pool, report, {
          fetch: fetchBlocks,
          copies: this.#copies,
          isReleased: ({ metadata }) => {
            const current = this.#plexes.get(metadata)
            return current?.metadata.uid !== metadata.uid || current?.metadata.deletionTimestamp !== undefined
          },
          isStopping: () => this.#isStopped,
        }),
      growFilesystem: this.#options.growFilesystem ?? growFilesystem,
      quiescer: this.#quiescer,
      driveProblem: (driveName) => this.#driveProblem(driveName),
      onPoolChanged: (driveName) => this.#measureSoon(driveName),
      freeing: (driveName, work) => this.#meter.freeing(driveName, work).finally(() => this.#measureSoon(driveName)),
      requeue: (name) => this.#queues.plex.add(name),
      logger,
    })
  }

  /** All drives are looked at before the first pool is opened: of two with the same id neither may be. */
  async #onSynced(): Promise<void> {
    await Promise.all(this.#drives.items().map((drive) => this.#drive.look(drive)))
    if (this.#isStopped) return
    this.#isSynced = true
    let looking: Promise<void> | undefined // with a drive that has stopped answering, a look may never end
    const discover = (): void => {
      looking ??= this.#discover()
        .catch((error: unknown) => this.#options.logger.warn({ err: error }, 'drives could not be looked for'))
        .finally(() => (looking = undefined))
    }
    discover()
    this.#timer = setInterval(discover, discoveryInterval)
    for (const { metadata } of this.#drives.items()) this.#queues.drive.add(metadata.name)
    for (const plex of this.#plexes.items()) this.#addPlex(plex)
    for (const attachment of this.#attachments.items()) this.#addAttachment(attachment)
  }

  async #discover(): Promise<void> {
    for (const device of await this.#options.devices()) await this.#drive.register(device)
  }

  #knownEntries(): Set<string> {
    return new Set(
      this.#plexes
        .items()
        .flatMap(({ metadata, spec, status }) => [
          metadata.uid!,
          ...spec.snapshots.map(({ uid }) => uid),
          ...(status?.snapshots ?? []).map(({ uid }) => uid),
        ]),
    )
  }

  #driveProblem(driveName: string): string {
    const { state = 'not there', message } = this.#drives.get({ name: driveName })?.status?.agent ?? {}
    return `drive ${driveName} is ${state}${message === undefined ? '' : `: ${message}`}`
  }

  /** A pool was opened, closed or measured: what lies on it has news. */
  #driveChanged(driveName: string): void {
    this.#seen.add(driveName)
    const pool = this.#pools.get(driveName)
    const isNew = pool !== undefined && !this.#tidied.has(pool.id)
    if (isNew) {
      this.#tidied.add(pool.id)
      void this.#tidy(driveName).catch((err: unknown) =>
        this.#options.logger.warn({ err }, 'devices could not be tidied'),
      )
    }
    for (const plex of this.#plexes.items()) {
      if (plex.spec.driveName !== driveName) continue
      this.#addPlex(plex)
      const attachment = this.#attachments.get({ name: plex.spec.volumeName })
      if (attachment && (isNew || !attachment.status?.attached)) this.#addAttachment(attachment)
    }
  }

  /** A timer of its own: the queue keeps only the first of several delays, and that may be the one to the next round. */
  #measureSoon(driveName: string): void {
    if (this.#measuring.has(driveName)) return
    const measure = (): void => {
      this.#measuring.delete(driveName)
      this.#queues.drive.add(driveName)
    }
    this.#measuring.set(driveName, setTimeout(measure, measureDelay))
  }

  /** Removes devices that a crash left and that nobody has a right to any more; those in use stay. */
  async #tidy(driveName: string): Promise<void> {
    const pool = this.#pools.get(driveName)
    const used = new Set(this.#attachments.items().map(({ spec }) => spec.volumeUid))
    const wanted = new Set(
      this.#plexes.items().flatMap(({ metadata, spec, status }) => {
        const isUsed = used.has(spec.volumeUid) || status?.madeAt === undefined
        return isUsed ? [metadata.uid] : []
      }),
    )
    for (const { id } of (await pool?.active()) ?? []) {
      if (wanted.has(id)) continue
      this.#options.logger.notice({ drive: driveName, entry: id }, 'removing a device that was left')
      await pool!
        .deactivate(id)
        .catch((err: unknown) => this.#options.logger.warn({ err }, 'a device that was left is in use'))
    }
  }

  /** A plex with what uses it. */
  #addPlex({ metadata, spec }: Plex): void {
    if (!this.#isSynced || !this.#isSeen(spec.driveName)) return
    this.#queues.plex.add(metadata.name)
    const attachment = this.#attachments.get({ name: spec.volumeName })
    if (attachment && !attachment.status?.attached) this.#addAttachment(attachment)
  }

  #addAttachment({ metadata, spec }: VolumeAttachment): void {
    if (!this.#isSynced) return
    const plex = this.#plexOf(spec.volumeUid)
    if (!plex || this.#isSeen(plex.spec.driveName)) this.#queues.attachment.add(metadata.name)
  }

  #isSeen(driveName: string): boolean {
    return this.#seen.has(driveName) || !this.#drives.get({ name: driveName })
  }
}

/** Whether somebody else than the agent itself has changed an object: status is its own word. */
function isNewsForAgent({ metadata }: KubeObject, previous: KubeObject | undefined): boolean {
  return (
    previous === undefined ||
    previous.metadata.generation !== metadata.generation ||
    previous.metadata.deletionTimestamp !== metadata.deletionTimestamp
  )
}
