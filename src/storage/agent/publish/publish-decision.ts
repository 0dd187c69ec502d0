import type { FilesystemType } from '../../../api/index.ts'
import type { PublishRecord } from './publish-journal.ts'
import type { FoundFilesystem } from './superblock.ts'

/** What a path is, without following a symbolic link in its last part. */
export type PathKind = 'absent' | 'empty folder' | 'folder' | 'file' | 'symbolic link' | 'block device' | 'other'

/** What is on a device: provably nothing, a filesystem of ours, or something else in words. */
export type DeviceContent = 'blank' | FoundFilesystem | { other: string }

/** What a stage call asks for. */
export interface StageWish {
  access: 'mount' | 'block'
  filesystem?: FilesystemType
  readOnly: boolean
}

/** What is, for the next step of staging a filesystem. */
export interface StageFacts {
  content: DeviceContent
  /** Bytes. */
  deviceSize: number
  path: PathKind
  /** What is mounted at the staging path. */
  mounted: 'nothing' | 'this volume' | 'something else'
  /** The journal says that making its filesystem was begun and not ended. */
  isFormatting: boolean
  /** Steps that this call has taken: none is taken twice. */
  taken: ReadonlySet<StageStep['step']>
}

/** What is done next to stage a filesystem; `done`: it is mounted as asked for. */
export type StageStep =
  | { step: 'refuse'; why: string; remedy: string }
  | { step: 'make-folder' }
  | { step: 'format' }
  | { step: 'check' }
  | { step: 'grow-unmounted' }
  | { step: 'mount' }
  | { step: 'grow-mounted' }
  | { step: 'done' }

/**
 * Decides the next step of staging from what is, so that it does not matter how far an earlier call came. A filesystem is
 * made only on a device on which there is nothing, or half of the filesystem that this node itself was making.
 */
export function nextStageStep(wish: StageWish, facts: StageFacts): StageStep {
  const { content, path, mounted, taken } = facts
  if (mounted === 'something else') return refuse('something else is mounted at the staging path', 'Unmount it first.')
  const isSmall = isFilesystem(content) && content.size + smallestGrowth <= facts.deviceSize && !wish.readOnly
  if (mounted === 'this volume') {
    const canGrow = isSmall && content.type === 'xfs' && !taken.has('grow-mounted')
    return canGrow ? { step: 'grow-mounted' } : { step: 'done' }
  }
  if (path === 'absent') return { step: 'make-folder' }
  if (path !== 'empty folder') return refuse(`the staging path is a ${path}`, 'Give the path of an empty folder.')
  if (facts.isFormatting || content === 'blank') return formatStep(wish, taken)
  if (!isFilesystem(content)) {
    return refuse(`there is data on the device that is no ${wish.filesystem}: ${content.other}`, neverErased)
  }
  if (content.type !== wish.filesystem) {
    return refuse(`there is ${content.type} on the device, not ${wish.filesystem}`, neverErased)
  }
  if (content.type === 'ext4' && !wish.readOnly) {
    if (!content.isClean && !taken.has('check')) return { step: 'check' }
    if (isSmall && !taken.has('grow-unmounted')) return { step: 'grow-unmounted' }
  }
  return { step: 'mount' }
}

/** Bytes by which a filesystem is smaller than its device when enlarging it is worth while: groups have this granularity. */
const smallestGrowth = 2 ** 20

const neverErased = 'Data is never erased here; use another volume, or the filesystem that is there.'

function formatStep({ readOnly }: StageWish, taken: ReadonlySet<string>): StageStep {
  if (readOnly) {
    return refuse('there is no filesystem on the volume and it is attached read-only', 'Use it for writing once.')
  }
  if (taken.has('format')) return refuse('the filesystem that was made cannot be found', 'See the log of the agent.')
  return { step: 'format' }
}

function refuse(why: string, remedy: string): { step: 'refuse'; why: string; remedy: string } {
  return { step: 'refuse', why, remedy }
}

function isFilesystem(content: DeviceContent): content is FoundFilesystem {
  return typeof content === 'object' && 'type' in content
}

/** What is, for the next step of publishing or unpublishing at a target path. */
export interface TargetFacts {
  path: PathKind
  /** What is mounted at the target path; `read-only`: of this volume, and it can only be read. */
  mounted: 'nothing' | 'this volume' | 'this volume, read-only' | 'something else'
}

/** What is done next to publish. */
export type PublishStep =
  | { step: 'refuse'; why: string; remedy: string; isOtherwise?: true }
  | { step: 'make-target' }
  | { step: 'bind' }
  | { step: 'make-read-only' }
  | { step: 'done' }

/** Decides the next step of publishing a staged volume at a target path. `isTold`: an orchestrator was told that it is there. */
export function nextPublishStep(
  { access, readOnly }: { access: 'mount' | 'block'; readOnly: boolean },
  { path, mounted }: TargetFacts,
  isTold: boolean,
): PublishStep {
  if (mounted === 'something else') return refuse('something else is mounted at the target path', 'Unmount it first.')
  if (mounted !== 'nothing') {
    const isReadOnly = mounted === 'this volume, read-only'
    // a device that is bound has no read-only of its own: the device itself has
    if (access === 'block' || isReadOnly === readOnly) return { step: 'done' }
    if (readOnly && !isTold) return { step: 'make-read-only' }
    const how = isReadOnly ? 'read-only' : 'for writing'
    return {
      step: 'refuse',
      why: `the volume is published there already, ${how}`,
      remedy: 'Unpublish it first.',
      isOtherwise: true,
    }
  }
  if (path === 'absent') return { step: 'make-target' }
  const wanted: PathKind = access === 'mount' ? 'empty folder' : 'file'
  if (path === wanted) return { step: 'bind' }
  return refuse(`the target path is a ${path}`, 'Give a path that does not exist yet.')
}

/** What is done next to take a volume away from a target path. */
export type UnpublishStep =
  { step: 'refuse'; why: string; remedy: string } | { step: 'unmount' } | { step: 'remove' } | { step: 'done' }

/** Decides the next step of unpublishing; nothing is removed that could be somebody's data. */
export function nextUnpublishStep({ path, mounted }: TargetFacts): UnpublishStep {
  if (mounted === 'something else') {
    return { step: 'refuse', why: 'something else is mounted at the target path', remedy: 'Unmount it by hand.' }
  }
  if (mounted !== 'nothing') return { step: 'unmount' }
  if (path === 'absent') return { step: 'done' }
  if (path === 'empty folder' || path === 'file') return { step: 'remove' }
  return { step: 'refuse', why: `the target path is a ${path}`, remedy: 'Remove it by hand.' }
}

/** What a start of the agent makes of what an earlier process left: what nobody was told of is undone. */
export type RepairStep = { undoTargets: string[]; unstage: boolean; forget: boolean }

/** Decides it for one record of this boot. */
export function repairOf({ state, targets }: PublishRecord): RepairStep {
  const undoTargets = targets.filter((target) => target.state !== 'published').map(({ path }) => path)
  const isGoing = state === 'staging' || state === 'unstaging'
  return { undoTargets, unstage: isGoing, forget: isGoing }
}
