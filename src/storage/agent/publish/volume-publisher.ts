import { statfs } from 'node:fs/promises'
import type { FilesystemType } from '../../../api/index.ts'
import { asCarbonadoError, CarbonadoError, Conflict, KeyedLock, NotFound, type Logger } from '../../../base/index.ts'
import { mountOptions, optionsWithoutReplay } from './mount-options.ts'
import { mountAt, showsDevice, type MountEntry } from './mount-table.ts'
import {
  nextPublishStep,
  nextStageStep,
  nextUnpublishStep,
  repairOf,
  type StageFacts,
  type StageStep,
  type TargetFacts,
} from './publish-decision.ts'
import type { PublishJournal, PublishRecord, TargetRecord } from './publish-journal.ts'
import { checkPublishPath, kernelPath } from './publish-path.ts'
import type { PublishSystem } from './publish-system.ts'

/** A volume that is to be staged. */
export interface StageRequest {
  volumeName: string
  volumeUid: string
  /** Path of its block device. */
  device: string
  access: 'mount' | 'block'
  /** Absent on a raw block device. */
  filesystem?: FilesystemType
  readOnly: boolean
  stagingPath: string
  mountFlags: string[]
}

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

/** How much of a volume is used, and whether something is wrong. */
export interface VolumeUse {
  bytes: { total: number; used?: number; available?: number }
  inodes?: { total: number; used: number; available: number }
  problem?: string
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
  readonly #locks = new KeyedLock()

  constructor(parts: VolumePublisherParts) {
    this.#parts = parts
  }

  /** Undoes what an earlier process left that nobody was told of. */
  async repair(): Promise<void> {
    const { journal, logger } = this.#parts
    for (const record of journal.all()) {
      const { volumeName } = record
      await this.#locks
        .run(volumeName, () => this.#repairOne(record))
        .catch((err: unknown) => logger.warn({ err, volume: volumeName }, 'a mount that was left cannot be undone yet'))
    }
  }

  async #repairOne(record: PublishRecord): Promise<void> {
    const { undoTargets, unstage, forget } = repairOf(record)
    for (const path of undoTargets) await this.#takeAway(record.volumeName, path)
    if (unstage) await this.#unmountStaging(record)
    if (forget) this.#parts.journal.delete(record.volumeName)
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
        await this.#stageFilesystem(request, known)
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

  async #stageFilesystem(request: StageRequest, known: PublishRecord | undefined): Promise<void> {
    const { journal } = this.#parts
    const wasStaged = known?.state === 'staged'
    const record = recordOf(request, known)
    let isFormatting = known?.state === 'formatting' && known.volumeUid === request.volumeUid
    const taken = new Set<StageStep['step']>()
    if (!wasStaged && !isFormatting) journal.put({ ...record, state: 'staging' })
    try {
      for (;;) {
        const step = nextStageStep(request, await this.#stageFacts(request, isFormatting, taken))
        if (step.step === 'done') break
        if (step.step === 'refuse') {
          throw new Conflict(`volume ${request.volumeName}: ${step.why}`, { remedy: step.remedy })
        }
        taken.add(step.step)
        if (step.step === 'format') journal.put({ ...record, state: 'formatting' })
        await this.#stageStep(step.step, request)
        if (step.step !== 'format') continue
        isFormatting = false
        journal.put({ ...record, state: 'staging' })
      }
    } catch (error) {
      if (!wasStaged) await this.#undoStaging(record)
      throw error
    }
    journal.put({ ...record, state: 'staged' })
  }

  async #stageFacts(
    { device, stagingPath }: StageRequest,
    isFormatting: boolean,
    taken: StageFacts['taken'],
  ): Promise<StageFacts> {
    const { system } = this.#parts
    const { path, mounted } = this.#targetFacts(device, stagingPath, 'mount')
    return {
      content: await system.content(device),
      deviceSize: system.deviceSize(device),
      path,
      mounted: mounted === 'this volume, read-only' ? 'this volume' : mounted,
      isFormatting,
      taken,
    }
  }

  async #stageStep(step: StageStep['step'], request: StageRequest): Promise<void> {
    const { system } = this.#parts
    const { device, stagingPath, filesystem } = request
    switch (step) {
      case 'make-folder':
        return system.makeFolder(stagingPath)
      case 'format':
        return system.format(device, filesystem!)
      case 'check':
        return system.check(device)
      case 'grow-unmounted':
        return system.growUnmounted(device)
      case 'mount':
        return this.#mount(request)
      case 'grow-mounted':
        return system.growMounted(device, filesystem!, stagingPath)
      case 'refuse':
      case 'done':
        return
    }
  }

  async #mount({ device, stagingPath, filesystem, readOnly, mountFlags }: StageRequest): Promise<void> {
    const { system, logger } = this.#parts
    const options = mountOptions(filesystem!, { readOnly, flags: mountFlags })
    try {
      await system.mount(device, stagingPath, filesystem!, options)
    } catch (error) {
      if (!readOnly) throw error
      logger.notice({ device }, 'a filesystem on a read-only device is mounted without replaying its log')
      await system.mount(device, stagingPath, filesystem!, optionsWithoutReplay(filesystem!, options))
    }
  }

  /** What a call did that nobody was told of; a filesystem that is half made stays noted. */
  async #undoStaging(record: PublishRecord): Promise<void> {
    const { journal, logger } = this.#parts
    try {
      await this.#unmountStaging(record)
      if (journal.get(record.volumeName)?.state !== 'formatting') journal.delete(record.volumeName)
    } catch (err) {
      logger.warn({ err, volume: record.volumeName }, 'what was begun could not be undone; the next call goes on')
    }
  }

  /** Takes a volume away from this node again. Throws Conflict while it is published or in use. */
  async unstage(volumeName: string, stagingPath: string): Promise<void> {
    checkPublishPath(stagingPath, 'staging')
    await this.#locks.run(volumeName, async () => {
      const { journal } = this.#parts
      const record = journal.get(volumeName)
      if (record?.state === 'formatting') return
      if (record && record.stagingPath !== stagingPath) return this.#unmountForeign(volumeName, stagingPath)
      const targets = record?.targets.map(({ path }) => path) ?? []
      const left = targets.filter((path) => this.pathsInUse(volumeName).includes(path))
      if (left.length > 0) {
        throw new Conflict(`volume ${volumeName} is still published at ${left.join(', ')}`, {
          remedy: 'Unpublish it first.',
        })
      }
      if (record) {
        journal.put({ ...record, state: 'unstaging' })
        await this.#unmountStaging(record)
        journal.delete(volumeName)
      } else await this.#unmountForeign(volumeName, stagingPath)
    })
    this.#parts.onChange(volumeName)
  }

  async #unmountStaging({ device, stagingPath, access }: PublishRecord): Promise<void> {
    if (access === 'block') return
    for (;;) {
      const { mounted } = this.#targetFacts(device, stagingPath, 'mount')
      if (mounted === 'nothing' || mounted === 'something else') return
      await this.#parts.system.unmount(kernelPath(stagingPath) ?? stagingPath)
    }
  }

  /** A path that the journal does not know: this volume is unmounted there, anything else stays. */
  async #unmountForeign(volumeName: string, stagingPath: string): Promise<void> {
    const device = this.#deviceOf(volumeName)
    if (device === undefined) return
    const { mounted } = this.#targetFacts(device, stagingPath, 'mount')
    if (mounted === 'this volume' || mounted === 'this volume, read-only') {
      await this.#parts.system.unmount(kernelPath(stagingPath) ?? stagingPath)
    }
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
      await this.#bringTo(record, targetPath, readOnly, isTold)
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

  async #bringTo(record: PublishRecord, path: string, readOnly: boolean, isTold: boolean): Promise<void> {
    const { system } = this.#parts
    const { device, access, stagingPath, volumeName } = record
    const target = kernelPath(path)!
    for (;;) {
      const step = nextPublishStep({ access, readOnly }, this.#targetFacts(device, path, access), isTold)
      switch (step.step) {
        case 'done':
          return
        case 'refuse':
          throw new Conflict(`volume ${volumeName}: ${step.why}`, {
            remedy: step.remedy,
            details: { isOtherwise: step.isOtherwise ?? false },
          })
        case 'make-target':
          if (access === 'mount') system.makeFolder(target)
          else system.makeFile(target)
          break
        case 'bind':
          await system.bind(access === 'mount' ? stagingPath : device, target)
          break
        case 'make-read-only':
          await system.makeReadOnly(target)
          break
      }
    }
  }

  async #undoPublishing(record: PublishRecord, targetPath: string): Promise<void> {
    const { journal, logger } = this.#parts
    try {
      await this.#removeTarget(record.device, record.access, targetPath, 'undo')
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
    await this.#removeTarget(record?.device ?? this.#deviceOf(volumeName), access, targetPath)
    const now = journal.get(volumeName)
    if (now && known) journal.put({ ...now, targets: now.targets.filter(({ path }) => path !== targetPath) })
  }

  /** `undo`: what this volume did not put there stays without a word. */
  async #removeTarget(
    device: string | undefined,
    access: 'mount' | 'block',
    path: string,
    undo?: 'undo',
  ): Promise<void> {
    const target = kernelPath(path)
    if (target === undefined) return
    for (;;) {
      const step = nextUnpublishStep(this.#targetFacts(device, path, access))
      if (step.step === 'done') return
      if (step.step === 'refuse') {
        if (undo) return
        throw new Conflict(`${path}: ${step.why}`, { remedy: step.remedy })
      }
      if (step.step === 'unmount') await this.#parts.system.unmount(target)
      else this.#parts.system.remove(target)
    }
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
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path)
    return {
      bytes: { total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
      inodes: { total: files, used: files - ffree, available: ffree },
      ...problemOf(record, mount!),
    }
  }

  #deviceOf(volumeName: string): string | undefined {
    return this.#parts.journal.get(volumeName)?.device ?? this.#parts.deviceOf(volumeName)
  }

  /** What is mounted at a path is not looked into: a filesystem that has failed would not answer. */
  #targetFacts(device: string | undefined, path: string, access: 'mount' | 'block'): TargetFacts {
    const { system } = this.#parts
    const place = kernelPath(path) ?? path
    const mount = mountAt(place, system.mounts())
    if (!mount) return { path: system.pathKind(path), mounted: 'nothing' }
    const number = device === undefined ? undefined : system.deviceNumber(device)
    const isOurs = access === 'mount' ? showsDevice(mount, number) : system.deviceNumber(place) === number
    if (!isOurs || number === undefined) return { path: 'other', mounted: 'something else' }
    return { path: 'other', mounted: mount.isReadOnly ? 'this volume, read-only' : 'this volume' }
  }
}

function recordOf(
  request: StageRequest,
  known: PublishRecord | undefined,
): Omit<PublishRecord, 'state'> & { state: 'staging' } {
  const targets = known?.volumeUid === request.volumeUid ? known.targets : []
  return { ...request, state: 'staging', targets }
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

function problemOf(
  { readOnly, filesystem }: PublishRecord,
  { isFilesystemReadOnly }: MountEntry,
): { problem?: string } {
  if (readOnly || !isFilesystemReadOnly) return {}
  return { problem: `its ${filesystem} was made read-only after an error; look at the kernel's log and check it` }
}
