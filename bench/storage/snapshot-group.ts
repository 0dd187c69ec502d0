import { setTimeout as sleep } from 'node:timers/promises'
import { exec } from '../../src/base/index.ts'
import type { Group, Measurement, Row, RunContext } from '../suite.ts'
import { fill, runFio, type FioResult } from './fio.ts'
import { openScratchPool, removeScratch, type ScratchPool } from './scratch-pool.ts'

const gibibyte = 2 ** 30
const load = { pattern: 'randwrite', blockBytes: 4096, depth: 32 } as const

/** A volume, full, in a pool that has room for three more of its size. */
export interface AgeingPool {
  scratch: ScratchPool
  devicePath: string
}

/** Makes the pool and writes the volume once. */
export async function openAgeingPool({ quick, progress }: RunContext): Promise<AgeingPool> {
  const size = (quick ? 1 : 4) * gibibyte
  const scratch = await openScratchPool(5 * size)
  const devicePath = await scratch.volume('volume', size)
  progress('writing the volume once')
  await fill(devicePath)
  return { scratch, devicePath }
}

/** Removes the pool. */
export function closeAgeingPool(): Promise<void> {
  return removeScratch()
}

const ordinals = ['first', 'second', 'third'] as const
type Ordinal = (typeof ordinals)[number]

const row = {
  pause: (each: Ordinal): string => `${each} snapshot under load, files: longest pause of a write`,
  extents: 'third snapshot under load, files: extents of the volume',
  p50: (each: Ordinal): string => `minute after the ${each} snapshot, files: write p50`,
  throughput: (each: Ordinal): string => `minute after the ${each} snapshot, files: throughput`,
}

const before = { unit: 'ratio', comparedWith: 'the minute before the first' }
const rows: Row[] = [
  { name: row.pause('first'), unit: 'ms' },
  { name: row.pause('third'), unit: 'ms' },
  { name: row.extents, unit: 'extents' },
  ...(['first', 'third'] as const).flatMap((each) => [
    { name: row.p50(each), ...before },
    { name: row.throughput(each), ...before },
  ]),
]

/** What snapshots cost a volume that is written at random all the time; each is taken at the beginning of a minute. */
export const snapshotGroup: Group<AgeingPool> = {
  rows,
  async measure({ scratch, devicePath }, _wanted, { quick, progress }) {
    const [minutes, minute] = quick ? [0.1, 10] : [9, 60]
    const write = (seconds: number): Promise<FioResult> => runFio(devicePath, { ...load, seconds })
    progress(`random writes for ${minutes + minute / 60} minutes`)
    await write(minutes * 60)
    const usual = await write(minute)
    progress(`before: ${told(usual)}`)
    const measurements: Record<string, Measurement> = {}
    for (const each of ordinals) {
      const writing = write(minute)
      await sleep(1000)
      const begin = performance.now()
      await scratch.pool.snapshot([{ id: each, volumeId: 'volume' }])
      const took = performance.now() - begin
      const after = await writing
      progress(`${each} snapshot in ${took.toFixed(0)} ms: ${told(after)}`)
      Object.assign(measurements, compared(each, usual, after, took))
    }
    const extents = await countExtents(scratch.fileOf('volume'))
    measurements[row.extents] = { value: extents, detail: 'after the last minute' }
    return measurements
  },
}

function compared(each: Ordinal, usual: FioResult, after: FioResult, took: number): Record<string, Measurement> {
  const [p50, usualP50] = [after.latency.p50, usual.latency.p50]
  return {
    [row.pause(each)]: {
      value: after.latency.longest,
      detail: `the snapshot took ${took.toFixed(0)} ms; longest pause in the minute before: ${usual.latency.longest.toFixed(0)} ms`,
    },
    [row.p50(each)]: { value: p50 / usualP50, detail: `${p50.toFixed(3)} ms to ${usualP50.toFixed(3)} ms` },
    [row.throughput(each)]: {
      value: after.iops / usual.iops,
      detail: `${after.iops.toFixed(0)} to ${usual.iops.toFixed(0)} IOPS`,
    },
  }
}

function told({ iops, latency }: FioResult): string {
  return `${iops.toFixed(0)} IOPS, p50 ${latency.p50.toFixed(3)} ms, longest ${latency.longest.toFixed(0)} ms`
}

async function countExtents(path: string): Promise<number> {
  const { stdout } = await exec(['filefrag', path], { deadline: 120_000 })
  return Number(/(\d+) extents? found/.exec(stdout)?.[1] ?? NaN)
}
