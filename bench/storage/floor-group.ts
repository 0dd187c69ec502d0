import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { basename } from 'node:path'
import { exec } from '../../src/base/index.ts'
import type { LiveStorage } from '../../src/storage/live-volume.ts'
import type { Container } from '../../lab/index.ts'
import type { Group, Measurement, RunContext } from '../suite.ts'
import { deviceOf, driveIops, fio, operationsOf, type PacedLab } from './paced-lab.ts'

const rows = {
  device: { name: 'IOPS floor attainment, at the device', unit: '% of windows', target: { atLeast: 99 } },
  agent: { name: 'IOPS floor attainment, by the agent', unit: '% of windows', target: { atLeast: 99 } },
  flooding: { name: 'drive use while flooding', unit: '% of calibrated IOPS', target: { atLeast: 90 } },
  bestEffort: { name: 'drive use by best effort alone', unit: '% of calibrated IOPS', target: { atLeast: 90 } },
  without: { name: 'gold without a floor, same flood', unit: '% of the floor' },
  errors: { name: 'agent restart under I/O: errors', unit: 'errors', target: { exactly: 0 } },
  pause: { name: 'agent restart under I/O: longest pause', unit: 'ms', target: { atMost: 100 } },
  added: {
    name: 'agent restart under I/O: longest pause, less that without',
    unit: 'ms',
    comparedWith: 'as long without a restart, by turns',
    target: { atMost: 100 },
  },
}

/** Milliseconds of each time that gold wants its floor, and of each time that it wants nothing. */
const phase = 5000
const random = ['--rw=randrw', '--bs=4k', '--iodepth=32']

interface Window {
  gold: number
  drive: number
}

/** Gold with half of the drive, on and off, against neighbours that flood it: direct, and buffered with storms of fsync. */
export const floorGroup: Group<PacedLab> = {
  rows: Object.values(rows),
  async measure(place, wanted, context) {
    const results: Record<string, Measurement> = {}
    const flood = place.neighbours.map((each, index) => startFlood(each, index))
    try {
      await sleep(3000)
      if (wanted.has(rows.without.name)) results[rows.without.name] = await withoutFloor(place, context)
      const isFlooding = [rows.device, rows.agent, rows.flooding, rows.bestEffort].some(({ name }) => wanted.has(name))
      if (isFlooding) Object.assign(results, await onAndOff(place, context))
      if ([rows.errors, rows.pause, rows.added].some(({ name }) => wanted.has(name)))
        Object.assign(results, await restart(place, context))
    } finally {
      for (const child of flood) child.kill('SIGKILL') // what they started in the containers ends with the lab
    }
    return results
  },
}

function startFlood(neighbour: Container, index: number): ChildProcess {
  const how = index % 2 === 0 ? ['--direct=1'] : [`--fsync=${4 * index}`]
  const child = neighbour.spawn(fio([...random, ...how, '--time_based', '--runtime=3600']))
  child.stdout!.resume()
  child.stderr!.resume()
  return child
}

function startGold({ gold }: PacedLab, seconds: number): { child: ChildProcess; report: Promise<string> } {
  const child = gold.spawn(fio([...random, '--direct=1', '--time_based', `--runtime=${seconds}`]))
  let text = ''
  child.stdout!.on('data', (part: Buffer) => (text += part.toString()))
  child.stderr!.resume()
  return { child, report: once(child, 'exit').then(() => text) }
}

/** A second each: what gold's device and what the drive did, as the kernel counts it. */
async function watch(devices: { gold: string; drive: string }, count: number): Promise<Window[]> {
  const read = (): Window & { at: number } => {
    return { gold: operationsOf(devices.gold), drive: operationsOf(devices.drive), at: performance.now() }
  }
  const readings = [read()]
  for (let index = 1; index <= count; index++) {
    await sleep(Math.max(0, readings[0]!.at + index * 1000 - performance.now()))
    readings.push(read())
  }
  return readings.slice(1).map((after, index) => {
    const before = readings[index]!
    const rate = (key: 'gold' | 'drive'): number => ((after[key] - before[key]) * 1000) / (after.at - before.at)
    return { gold: rate('gold'), drive: rate('drive') }
  })
}

async function devicesOf({ lab }: PacedLab): Promise<{ gold: string; drive: string }> {
  const { stdout } = await exec(lab.nodeCommand('n1', ['readlink', '-f', '/run/carbonado/drives/drive0']))
  return { gold: await deviceOf(lab, 'gold'), drive: basename(stdout.trim()) }
}

async function untilFirst(device: string): Promise<void> {
  for (const before = operationsOf(device); operationsOf(device) === before;) await sleep(1)
}

async function onAndOff(place: PacedLab, { quick, progress }: RunContext): Promise<Record<string, Measurement>> {
  const devices = await devicesOf(place)
  const before = await windowsOf(place)
  const on: Window[] = []
  const off: Window[] = []
  const rounds = quick ? 3 : 30
  for (let round = 1; round <= rounds; round++) {
    const gold = startGold(place, phase / 1000 + 1)
    await untilFirst(devices.gold)
    on.push(...(await watch(devices, phase / 1000)))
    await gold.report
    const since = performance.now()
    await sleep(1000)
    off.push(...(await watch(devices, 3)))
    await sleep(Math.max(0, since + phase - performance.now()))
    if (round % 5 === 0)
      progress(`gold on and off: ${round} of ${rounds}, lowest ${Math.round(lowest(on, place.floor))} %`)
  }
  const after = await windowsOf(place)
  const attained = on.filter(({ gold }) => gold >= 0.95 * place.floor).length
  const judged = after.withDemand - before.withDemand
  const mean = (windows: Window[]): number => windows.reduce((sum, { drive }) => sum + drive, 0) / windows.length
  const use = (windows: Window[]): Measurement => ({
    value: (100 * mean(windows)) / place.calibrated,
    detail: `${Math.round(mean(windows))} of ${place.calibrated} calibrated; the drive gives ${driveIops}, flushes included`,
  })
  return {
    [rows.device.name]: {
      value: (100 * attained) / on.length,
      detail: `${attained} of ${on.length} windows, lowest ${lowest(on, place.floor).toFixed(1)} % of ${place.floor} IOPS`,
    },
    [rows.agent.name]: {
      value: (100 * (after.attained - before.attained)) / judged,
      detail: `${after.attained - before.attained} of ${judged} windows`,
    },
    [rows.flooding.name]: use(on),
    [rows.bestEffort.name]: use(off),
  }
}

function lowest(windows: Window[], floor: number): number {
  return 100 * Math.min(...windows.map(({ gold }) => gold / floor))
}

/** What is left to gold when its volume is best effort like the others. */
async function withoutFloor(place: PacedLab, { quick, progress }: RunContext): Promise<Measurement> {
  progress('gold without a floor')
  const devices = await devicesOf(place)
  await place.lab.dctl(['volume', 'update', 'gold', '-p', 'best-effort'])
  const gold = startGold(place, quick ? 5 : 20)
  await untilFirst(devices.gold)
  const windows = await watch(devices, quick ? 3 : 15)
  await gold.report
  await place.lab.dctl(['volume', 'update', 'gold', '-p', 'gold'])
  const mean = windows.reduce((sum, each) => sum + each.gold, 0) / windows.length
  return { value: (100 * mean) / place.floor, detail: `${Math.round(mean)} of ${place.floor} IOPS` }
}

interface Report {
  jobs: { error: number; total_err?: number }[]
}

/** Milliseconds of each time with a restart, and of each without. */
const restartPhase = 5000

/**
 * The agent is killed and started while gold reads and writes; a pause is a time without any operation that ends. On a busy
 * machine there are pauses without that, too, so that as long without a restart lies between any two.
 */
async function restart(place: PacedLab, { quick, progress }: RunContext): Promise<Record<string, Measurement>> {
  const device = await deviceOf(place.lab, 'gold')
  const rounds = quick ? 1 : 5
  progress(`agent killed and started, ${rounds} times`)
  const gold = startGold(place, (2 * restartPhase * rounds) / 1000 + 6)
  await untilFirst(device)
  await sleep(1000)
  const [calm, killed]: [Pauses[], Pauses[]] = [[], []]
  for (let round = 1; round <= rounds; round++) {
    calm.push(await pausesDuring(device, sleep(restartPhase)))
    killed.push(await pausesDuring(device, Promise.all([restartAgent(place), sleep(restartPhase)])))
    const told = [calm, killed].map((phases) => `${phases.at(-1)!.longest.toFixed(0)} ms`)
    progress(`  ${round} of ${rounds}: longest pause ${told[0]!}, with a restart ${told[1]!}`)
  }
  const [job] = (JSON.parse(await gold.report) as Report).jobs
  const [without, longest] = [longestOf(calm), longestOf(killed)]
  const blind = Math.max(...[...calm, ...killed].map((each) => each.blind))
  const detail = `${rounds} kills; without any: ${without.toFixed(0)} ms; looked at least every ${blind.toFixed(0)} ms`
  return {
    [rows.errors.name]: { value: (job!.error === 0 ? 0 : 1) + (job!.total_err ?? 0), detail: `${rounds} kills` },
    [rows.pause.name]: { value: longest, detail },
    [rows.added.name]: { value: Math.max(0, longest - without), detail },
  }
}

async function restartAgent({ lab }: PacedLab): Promise<void> {
  await lab.killAgent('n1')
  await sleep(1000)
  await lab.startAgent('n1')
}

interface Pauses {
  /** Milliseconds without any operation that ended. */
  longest: number
  /** Milliseconds between two looks, at most: what is shorter may not have been seen. */
  blind: number
}

function longestOf(phases: Pauses[]): number {
  return Math.max(...phases.map(({ longest }) => longest))
}

/**
 * Looks every 2 ms, before everybody else on the machine. A pause is what two looks saw, so that one at which this process
 * was not let run is not taken for one of the volume.
 */
async function pausesDuring(device: string, work: Promise<unknown>): Promise<Pauses> {
  let isOver = false
  const done = work.finally(() => (isOver = true))
  void done.catch(() => {}) // thrown below
  setPriority(-20)
  const seen: Pauses = { longest: 0, blind: 0 }
  let [operations, since, looked] = [operationsOf(device), performance.now(), performance.now()]
  while (!isOver) {
    await sleep(2)
    const [now, at] = [operationsOf(device), performance.now()]
    if (now === operations) seen.longest = Math.max(seen.longest, at - since)
    else [operations, since] = [now, at]
    seen.blind = Math.max(seen.blind, at - looked)
    looked = at
  }
  setPriority(0)
  await done
  return seen
}

async function windowsOf({ lab }: PacedLab): Promise<{ withDemand: number; attained: number }> {
  const path = '/apis/carbonado.io/v1alpha1/nodes/n1/proxy/v1/volumes'
  for (;;) {
    const { volumes } = await lab.store.getJson<LiveStorage>(path)
    const windows = volumes.find(({ name }) => name === 'gold')?.windows
    if (windows) return windows
    await sleep(100) // the agent has not heard of the tier yet
  }
}
