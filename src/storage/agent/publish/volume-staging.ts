import type { FilesystemType } from '../../../api/index.ts'
import { Conflict, type Logger } from '../../../base/index.ts'
import { mountOptions, optionsWithoutReplay } from './mount-options.ts'
import { factsAt } from './place-facts.ts'
import { nextStageStep, type StageFacts, type StageStep } from './publish-decision.ts'
import type { PublishJournal, PublishRecord } from './publish-journal.ts'
import { kernelPath } from './publish-path.ts'
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

/** What staging works with. */
export interface VolumeStagingParts {
  journal: PublishJournal
  system: PublishSystem
  logger: Logger
}

/** Brings filesystems of volumes to their staging paths, and takes them away from there. */
export class VolumeStaging {
  readonly #parts: VolumeStagingParts

  constructor(parts: VolumeStagingParts) {
    this.#parts = parts
  }

  /**
   * Takes the steps that are left. Throws Conflict when there is one that cannot be taken without harm; then what this call
   * has done is undone, unless the volume was staged before.
   */
  async stage(request: StageRequest, known: PublishRecord | undefined): Promise<void> {
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
    const { path, mounted } = factsAt(system, stagingPath, device, 'mount')
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
      await this.unmount(record)
      if (journal.get(record.volumeName)?.state !== 'formatting') journal.delete(record.volumeName)
    } catch (err) {
      logger.warn({ err, volume: record.volumeName }, 'what was begun could not be undone; the next call goes on')
    }
  }

  /** Unmounts what a volume has at its staging path; anything else stays. */
  async unmount({ device, stagingPath, access }: PublishRecord): Promise<void> {
    const { system } = this.#parts
    if (access === 'block') return
    for (;;) {
      const { mounted } = factsAt(system, stagingPath, device, 'mount')
      if (mounted === 'nothing' || mounted === 'something else') return
      await system.unmount(kernelPath(stagingPath) ?? stagingPath)
    }
  }

  /** A path that the journal does not know: this volume is unmounted there, anything else stays. */
  async unmountForeign(device: string | undefined, stagingPath: string): Promise<void> {
    const { system } = this.#parts
    if (device === undefined) return
    const { mounted } = factsAt(system, stagingPath, device, 'mount')
    if (mounted === 'this volume' || mounted === 'this volume, read-only') {
      await system.unmount(kernelPath(stagingPath) ?? stagingPath)
    }
  }
}

/** What the journal has of a volume whose staging begins; where it was published before stays known. */
export function recordOf(
  request: StageRequest,
  known: PublishRecord | undefined,
): Omit<PublishRecord, 'state'> & { state: 'staging' } {
  const targets = known?.volumeUid === request.volumeUid ? known.targets : []
  return { ...request, state: 'staging', targets }
}
