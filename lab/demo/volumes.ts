import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { VolumeAttachment } from '../../src/api/index.ts'
import { Unavailable } from '../../src/base/index.ts'
import { parseDiskStat, type DiskStat } from '../../src/storage/io-limits/disk-stat.ts'
import type { LiveStorage, LiveVolume } from '../../src/storage/live-volume.ts'
import type { Container, Lab } from '../index.ts'

/** Asks the agent of a node about its volumes, through control, as dctl does. */
export async function liveVolumes(lab: Lab, node: string): Promise<LiveVolume[]> {
  const path = `/apis/carbonado.io/v1alpha1/nodes/${node}/proxy/v1/volumes`
  return (await lab.store.getJson<LiveStorage>(path)).volumes
}

const file = ['--name=load', '--filename=/run/data/file', '--size=128M', '--ioengine=libaio', '--bs=4k', '--iodepth=32']

/** Writes the file of a load once. */
export async function fillVolume(container: Container): Promise<void> {
  await container.exec(['fio', ...file, '--rw=write', '--bs=1M', '--direct=1', '--end_fsync=1'], { deadline: 30_000 })
}

/**
 * Starts random reads and writes of 4 KiB on a container's volume, 32 at a time, as a busy database does them, and waits
 * until they have begun. Throws Unavailable with what fio said when they do not: that is no promise that was broken.
 */
export async function startLoad(
  lab: Lab,
  volume: string,
  container: Container,
  ...how: string[]
): Promise<ChildProcess> {
  const device = await deviceOf(lab, volume)
  const before = statOf(device).operations
  const child = container.spawn(['fio', ...file, '--rw=randrw', '--time_based', '--runtime=120', ...how])
  let said = ''
  const note = (part: Buffer): void => void (said = (said + part.toString()).slice(-2000))
  child.on('error', (error) => note(Buffer.from(error.message)))
  child.stdout!.on('data', note)
  child.stderr!.on('data', note)
  for (const giveUp = performance.now() + 30_000; statOf(device).operations < before + 50; await sleep(25)) {
    if (child.exitCode === null && child.signalCode === null && performance.now() < giveUp) continue
    throw new Unavailable(`the load of volume ${volume} did not begin: ${said.trim() || 'fio said nothing'}`, {
      remedy: 'Run the demo again; it begins anew.',
    })
  }
  return child
}

/** What a volume's operations took; milliseconds. */
export interface Latency {
  mean: number
  /** The longest time in which no operation ended. */
  pause: number
}

/** Watches the device of a volume for so long, or until `work` is done. */
export async function latencyDuring(device: string, work: Promise<unknown>): Promise<Latency> {
  const state = { isDone: false }
  void work.then(() => (state.isDone = true), () => (state.isDone = true)) // prettier-ignore
  const first = statOf(device)
  let [last, at, pause] = [first, performance.now(), 0]
  while (!state.isDone) {
    await sleep(2)
    const now = statOf(device)
    pause = Math.max(pause, performance.now() - at)
    if (now.operations !== last.operations) [last, at] = [now, performance.now()]
  }
  return { mean: (last.busy - first.busy) / Math.max(1, last.operations - first.operations), pause }
}

/** The kernel's name of the device of a volume. */
export async function deviceOf(lab: Lab, volume: string): Promise<string> {
  const { status } = await lab.store.get(VolumeAttachment, { name: volume })
  return basename(status!.devicePath!)
}

function statOf(device: string): DiskStat {
  return parseDiskStat(readFileSync(`/sys/block/${device}/stat`, 'utf8'))
}
