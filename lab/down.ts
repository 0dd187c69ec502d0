import { existsSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { exec, Internal } from '../src/base/index.ts'
import { findCgroupIo, removeStaleLimits } from '../src/storage/io-limits/index.ts'
import { killCgroup, killQuietly, labCgroups, removeLabCgroups } from './cgroups.ts'
import { restoreSysctls } from './kubernetes/sysctls.ts'
import { detach, dropAbandonedVolumeDevices, labLoopDevices } from './drives.ts'
import { describeLeftovers, findLeftovers, labMounts, labProcesses } from './leftovers.ts'
import { labNetnsFiles, releaseNetns } from './netns.ts'
import { driveDirectory, labDirectory, places } from './places.ts'
import { identify, signalProcess } from './processes.ts'
import { readLabState, writeJson } from './state.ts'

/** Milliseconds after which a slow removal says what it waits for, and again. */
const noteInterval = 2_000

/**
 * Milliseconds for which what resists is removed again. What ends on a node flushes its volumes first, to a drive that
 * may have yet to fail all its requests.
 */
const removalDeadline = 45_000

/**
 * Removes everything of the lab, in whatever state it is: it works from what the kernel has, not from what the lab
 * wrote down. Throws Internal with a list when something resists. Returns whether there was anything. `onProgress` is
 * told what it waits for, when that takes long.
 */
export async function takeLabDown({ onProgress }: { onProgress?: (step: string) => void } = {}): Promise<boolean> {
  const before = describeLeftovers(await findLeftovers())
  if (before.length === 0) return false
  const notes = onProgress && setInterval(() => onProgress(whatItWaitsFor()), noteInterval)
  try {
    await removeAll()
  } finally {
    clearInterval(notes)
  }
  return true
}

function whatItWaitsFor(): string {
  const left = labProcesses().filter((pid) => pid !== process.pid).length
  return left > 0 ? `waiting for ${left} processes to end, after what they still write` : 'removing what is left'
}

/**
 * Removes in turns until nothing is left: a command of a killed `lab up`, such as losetup, may end only now and leave
 * what a turn has already passed, and the kernel frees programs and namespaces a little after their last user has gone.
 */
async function removeAll(): Promise<void> {
  stopStarter()
  noteStopping()
  const end = Date.now() + removalDeadline
  for (;;) {
    await removeOnce()
    const left = describeLeftovers(await findLeftovers())
    if (left.length === 0) break
    if (Date.now() > end) {
      throw new Internal(`the lab is down, but this is left:\n  ${left.join('\n  ')}`, {
        remedy: 'Run dctl lab down again; a restart of the machine removes all of it.',
      })
    }
    await sleep(20)
  }
  liftLimits()
}

async function removeOnce(): Promise<void> {
  await detach(labLoopDevices()) // those in use go with their users; afterwards they could not be told from others
  for (const cgroup of labCgroups()) await killCgroup(cgroup)
  killStragglers()
  await dropAbandonedVolumeDevices() // while the files of the drives are still in a mount of the lab
  for (const netns of labNetnsFiles()) await releaseNetns(netns)
  for (const mount of labMounts()) await exec(['umount', '--lazy', mount]).catch(() => {}) // looked at again by the caller
  await restoreSysctls()
  await detach(labLoopDevices())
  await removeLabCgroups()
  if (labMounts().length + labCgroups().length === 0) rmSync(labDirectory, { recursive: true, force: true })
  rmSync(driveDirectory, { recursive: true, force: true })
}

/** Agents that were killed could not take back what they had set for the loop devices of their volumes. */
function liftLimits(): void {
  const io = findCgroupIo()
  if (io) removeStaleLimits(io)
}

function noteStopping(): void {
  const state = existsSync(places.state) ? readLabState() : undefined
  if (state) writeJson(places.state, { ...state, phase: 'stopping', starter: identify(process.pid)! })
}

/** A `lab up` that is still at work would go on building. */
function stopStarter(): void {
  const state = existsSync(places.state) ? readLabState() : undefined
  if (state?.phase === 'starting' && state.starter.pid !== process.pid) signalProcess(state.starter, 'SIGKILL')
}

function killStragglers(): void {
  for (const pid of labProcesses()) {
    if (pid !== process.pid) killQuietly(pid)
  }
}
