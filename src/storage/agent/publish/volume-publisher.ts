import type { FilesystemType } from '../../../api/index.ts'
import { asCarbonadoError, CarbonadoError, Conflict, KeyedLock, NotFound, type Logger } from '../../../base/index.ts'
import { mountAt, showsDevice } from './mount-table.ts'
import { repairOf } from './publish-decision.ts'
import type { PublishJournal, PublishRecord, TargetRecord } from './publish-journal.ts'
import { checkPublishPath, kernelPath } from './publish-path.ts'
import type { PublishSystem } from './publish-system.ts'
import { recordOf, VolumeStaging, type StageRequest } from './volume-staging.ts'
import { VolumeTargets } from './volume-targets.ts'
import { useOf, type VolumeUse } from './volume-use.ts'

/** A staged volume that a container is to see. */
export interface PublishRequest {
  volumeName: string
  stagingPath: string
  targetPath: string
  access: 'mount' | 'block'
  readOnly: boolean
  /** No other target path may have it at the same time. */
  isExclusive: boolean
}

/** A volume that is staged on this node, with where containers see it. */
export interface PublishedVolume {
  volumeName: string
  volumeUid: string
  device: string
  stagingPath: string
  targetPaths: string[]
}

/** What a publisher works with. */
export interface VolumePublisherParts {
  journal: PublishJournal
  system: PublishSystem
  /** The device of an attached volume, when the journal does not know it. */
  deviceOf: (volumeName: string) => string | undefined
  /** Told when a volume has come to be used, or is not used any more. */
  onChange: (volumeName: string) => void
  logger: Logger
}

/**
 * Mounts volumes where orchestrators ask for them, and takes them away. The journal says what is begun before it is begun
 * and what is told after it is done; each step is decided from what the kernel has. So every call can be repeated, a step
 * that fails undoes what the call has done, and what a crash left is undone at the next start or done by the next call.
 */
export class VolumePublisher {
  readonly #parts: VolumePublisherParts
  readonly #staging: VolumeStaging
  readonly #targets: VolumeTargets
  readonly #locks = new KeyedLock()

  constructor(parts: VolumePublisherParts) {
    this.#parts = parts
    this.#staging = new VolumeStaging(parts)
    this.#targets = new VolumeTargets(parts.system)
  }

  /** Undoes what an earlier process left that nobody was told of. */
  async repair(): Promise<void> {
    const { journal, logger } = this.#parts
    for (const { volumeName } of journal.all()) {
      await this.#locks
        .run(volumeName, () => this.#repairOne(volumeName))
        .catch((err: unknown) => logger.warn({ err, volume: volumeName }, 'a mount that was left cannot be undone yet'))
    }
  }

  /** What the journal says now counts: calls have been answered since the repair began. */
  async #repairOne(volumeName: string): Promise<void> {
    const { journal } = this.#parts
    const record = journal.get(volumeName)
    if (!record) return
    const { undoTargets, unstage, forget } = repairOf(record)
    for (const path of undoTargets) await this.#takeAway(volumeName, path)
    if (unstage) await this.#staging.unmount(record)
    if (forget) journal.delete(volumeName)
  }

  /** A volume that is staged here now, with where it is shown; undefined when it is not. */
  published(volumeName: string): PublishedVolume | undefined {
    const record = this.#parts.journal.get(volumeName)
    if (record?.state !== 'staged') return undefined
    const { volumeUid, device, stagingPath, targets } = record
    const targetPaths = targets.filter(({ state }) => state === 'published').map(({ path }) => path)
    return { volumeName, volumeUid, device, stagingPath, targetPaths }
  }

  /** Paths at which a volume is mounted now: while there is one its device must stay. */
  pathsInUse(volumeName: string): string[] {
    const record = this.#parts.journal.get(volumeName)
    if (!record) return []
    const table = this.#parts.system.mounts()
    const isMounted = (path: string): boolean => mountAt(kernelPath(path) ?? path, table) !== undefined
    const paths = [record.stagingPath, ...record.targets.map(({ path }) => path)]
    const isHeldRaw = record.access === 'block' && record.state === 'staged'
    return paths.filter((path, number) => (isHeldRaw && number === 0) || isMounted(path))
  }

  /**
   * Makes a volume ready for use on this node: its filesystem, checked, grown to its device, mounted at the staging path.
   * Throws Conflict when that cannot be without harm, InvalidInput for paths that cannot be used.
   */
  async stage(request: StageRequest): Promise<void> {
    const { volumeName, stagingPath } = request
    checkPublishPath(stagingPath, 'staging')
    await this.#locks.run(volumeName, async () => {
      const { journal } = this.#parts
      const known = this.#sameStaging(request)
      if (request.access === 'block') {
        journal.put({ ...recordOf(request, known), state: 'staged' })
      } else {
        await this.#staging.stage(request, known)
      }
    })
    this.#parts.onChange(volumeName)
  }

  /** The record of an earlier call for the same. */
  #sameStaging(request: StageRequest): PublishRecord | undefined {
    const known = this.#parts.journal.get(request.volumeName)
    if (!known || known.volumeUid !== request.volumeUid || known.state === 'formatting') return known
    const { volumeName } = known
    const isSame = known.access === request.access && known.readOnly === request.readOnly
    if (known.stagingPath === request.stagingPath && isSame) return known
    if (this.pathsInUse(volumeName).length === 0) return undefined
    throw new Conflict(
      isSame
        ? `volume ${volumeName} is staged at ${known.stagingPath}`
        : `volume ${volumeName} is staged as ${known.access}${known.readOnly ? ', read-only' : ''}`,
      { remedy: 'Unstage it first.', details: { isOtherwise: !isSame } },
    )
  }

  /** Takes a volume away from this node again. Throws Conflict while it is published or in use. */
  async unstage(volumeName: string, stagingPath: string): Promise<void> {
    checkPublishPath(stagingPath, 'staging')
    await this.#locks.run(volumeName, async () => {
      const { journal } = this.#parts
      const record = journal.get(volumeName)
      if (record?.state === 'formatting') return
      if (record && record.stagingPath !== stagingPath)
        return this.#staging.unmountForeign(this.#deviceOf(volumeName), stagingPath)
      const targets = record?.targets.map(({ path }) => path) ?? []
      const left = targets.filter((path) => this.pathsInUse(volumeName).includes(path))
      if (left.length > 0) {
        throw new Conflict(`volume ${volumeName} is still published at ${left.join(', ')}`, {
          remedy: 'Unpublish it first.',
        })
      }
      if (record) {
        journal.put({ ...record, state: 'unstaging' })
        await this.#staging.unmount(record)
        journal.delete(volumeName)
      } else await this.#staging.unmountForeign(this.#deviceOf(volumeName), stagingPath)
    })
    this.#parts.onChange(volumeName)
  }

  /** Shows a staged volume at a target path. Throws Conflict when it is not staged, or published there otherwise. */
  async publish(request: PublishRequest): Promise<void> {
    const { volumeName, targetPath } = request
    checkPublishPath(targetPath, 'target')
    checkPublishPath(request.stagingPath, 'staging')
    await this.#locks.run(volumeName, () => this.#publishLocked(request))
    this.#parts.onChange(volumeName)
  }

  async #publishLocked(request: PublishRequest): Promise<void> {
    const { journal } = this.#parts
    const { volumeName, targetPath } = request
    const record = this.#stagedRecord(request)
    const others = record.targets.filter(({ path }) => path !== targetPath)
    const inUse = request.isExclusive ? others.filter(({ path }) => this.pathsInUse(volumeName).includes(path)) : []
    if (inUse.length > 0) {
      throw new Conflict(`volume ${volumeName} is published at ${inUse[0]!.path}, and may be at one place only`, {
        remedy: 'Stop what uses it there.',
      })
    }
    if (kernelPath(targetPath) === undefined) {
      throw new Conflict(`the folder of the target path ${targetPath} does not exist`, { remedy: 'Make it first.' })
    }
    const known = record.targets.find(({ path }) => path === targetPath)
    const isTold = known?.state === 'published'
    const readOnly = request.readOnly || record.readOnly
    const withTarget = (target: TargetRecord | undefined): PublishRecord => ({
      ...record,
      targets: target ? [...others, target] : others,
    })
    if (!isTold) journal.put(withTarget({ path: targetPath, readOnly, state: 'publishing' }))
    try {
      await this.#targets.bring(record, targetPath, readOnly, isTold)
    } catch (error) {
      if (!isTold) await this.#undoPublishing(withTarget(undefined), targetPath)
      throw error
    }
    if (!isTold) journal.put(withTarget({ path: targetPath, readOnly, state: 'published' }))
  }

  #stagedRecord({ volumeName, stagingPath, access }: PublishRequest): PublishRecord {
    const record = this.#parts.journal.get(volumeName)
    if (record?.state !== 'staged' || record.stagingPath !== stagingPath) {
      throw new Conflict(`volume ${volumeName} is not staged at ${stagingPath}`, { remedy: 'Stage it first.' })
    }
    if (record.access !== access) {
      throw new Conflict(`volume ${volumeName} is staged as ${record.access}, not ${access}`, {
        details: { isOtherwise: true },
      })
    }
    if (access === 'mount' && !this.pathsInUse(volumeName).includes(stagingPath)) {
      throw new Conflict(`volume ${volumeName} is not mounted at ${stagingPath} any more`, {
        remedy: 'Stage it again.',
      })
    }
    return record
  }

  async #undoPublishing(record: PublishRecord, targetPath: string): Promise<void> {
    const { journal, logger } = this.#parts
    try {
      await this.#targets.remove(record.device, record.access, targetPath, 'undo')
      journal.put(record)
    } catch (err) {
      logger.warn({ err, volume: record.volumeName }, 'what was begun could not be undone; the next call goes on')
    }
  }

  /** Takes a volume away from a target path, which is removed. A path that is not there is no error. */
  async unpublish(volumeName: string, targetPath: string): Promise<void> {
    checkPublishPath(targetPath, 'target')
    await this.#locks.run(volumeName, () => this.#takeAway(volumeName, targetPath))
    this.#parts.onChange(volumeName)
  }

  async #takeAway(volumeName: string, targetPath: string): Promise<void> {
    const { journal } = this.#parts
    const record = journal.get(volumeName)
    const known = record?.targets.find(({ path }) => path === targetPath)
    const others = record?.targets.filter(({ path }) => path !== targetPath) ?? []
    if (record && known) journal.put({ ...record, targets: [...others, { ...known, state: 'unpublishing' }] })
    const access = record?.access ?? (this.#parts.system.pathKind(targetPath) === 'block device' ? 'block' : 'mount')
    await this.#targets.remove(record?.device ?? this.#deviceOf(volumeName), access, targetPath)
    const now = journal.get(volumeName)
    if (now && known) journal.put({ ...now, targets: now.targets.filter(({ path }) => path !== targetPath) })
  }

  /** Enlarges the filesystem of a staged volume to its device. Throws NotFound when it is not here, Conflict when it cannot. */
  async expand(volumeName: string): Promise<number> {
    return this.#locks.run(volumeName, async () => {
      const { journal, system } = this.#parts
      const record = journal.get(volumeName)
      if (record?.state !== 'staged') throw notHere(volumeName)
      const { device, filesystem, stagingPath, readOnly } = record
      const size = system.deviceSize(device)
      if (!filesystem || readOnly) return size
      const content = await system.content(device)
      const isSmall = typeof content !== 'object' || !('size' in content) || content.size + 2 ** 20 <= size
      if (isSmall) {
        await system.growMounted(device, filesystem, stagingPath).catch((error: unknown) => {
          throw growthProblem(volumeName, filesystem, error)
        })
      }
      this.#parts.onChange(volumeName)
      return size
    })
  }

  /** How much of a volume is used, asked at a path where it is mounted. Throws NotFound when it is not mounted there. */
  async use(volumeName: string, path: string): Promise<VolumeUse> {
    const { journal, system } = this.#parts
    const record = journal.get(volumeName)
    const paths = record ? [record.stagingPath, ...record.targets.map((target) => target.path)] : []
    if (!record || !paths.includes(path)) throw notHere(volumeName, path)
    if (record.access === 'block') return { bytes: { total: system.deviceSize(record.device) } }
    const mount = mountAt(kernelPath(path) ?? path, system.mounts())
    if (!showsDevice(mount, system.deviceNumber(record.device))) throw notHere(volumeName, path)
    return useOf(record, path, mount!)
  }

  #deviceOf(volumeName: string): string | undefined {
    return this.#parts.journal.get(volumeName)?.device ?? this.#parts.deviceOf(volumeName)
  }
}

function notHere(volumeName: string, path?: string): NotFound {
  return new NotFound(`volume ${volumeName} is not mounted on this node${path === undefined ? '' : ` at ${path}`}`)
}

function growthProblem(volumeName: string, filesystem: FilesystemType, error: unknown): CarbonadoError {
  const { message } = asCarbonadoError(error)
  if (filesystem !== 'ext4' || !/permission denied|not permitted/i.test(message)) return asCarbonadoError(error)
  return new Conflict(
    `the device of volume ${volumeName} has grown; its ext4 cannot grow while it is mounted, because the agent does not have CAP_SYS_RESOURCE`,
    { remedy: 'It grows when the volume is next staged: restart what uses it. XFS grows under use.', cause: error },
  )
}
