import { closeSync, existsSync, openSync, writeSync } from 'node:fs'
import { compareRounds, median } from '../statistics.ts'
import type { Group, Measurement, Row, RunContext } from '../suite.ts'
import { fill, runFio, type FioJob } from './fio.ts'
import { openScratchPool, removeScratch, type ScratchPool } from './scratch-pool.ts'

type Contender = 'volume' | 'pool file' | 'bare loop' | 'raw device'

interface Question {
  row: Row
  load: Load
  theirs: Contender
}

interface Load extends Omit<FioJob, 'seconds'> {
  name: string
  /** Whether no processor sleeps meanwhile, as on a node that is tuned for latency: waking one takes longer than many a request. */
  isAwake?: boolean
}

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

const loads = {
  'read 32': { name: '4 KiB random read, depth 32', pattern: 'randread', blockBytes: 4 * kibibyte, depth: 32 },
  'write 32': { name: '4 KiB random write, depth 32', pattern: 'randwrite', blockBytes: 4 * kibibyte, depth: 32 },
  'read 1': { name: '4 KiB random read, depth 1', pattern: 'randread', blockBytes: 4 * kibibyte, depth: 1 },
  'write 1': { name: '4 KiB random write, depth 1', pattern: 'randwrite', blockBytes: 4 * kibibyte, depth: 1 },
  'read 32 awake': {
    name: '4 KiB random read, depth 32, no processor asleep',
    pattern: 'randread',
    blockBytes: 4 * kibibyte,
    depth: 32,
    isAwake: true,
  },
  'write 32 awake': {
    name: '4 KiB random write, depth 32, no processor asleep',
    pattern: 'randwrite',
    blockBytes: 4 * kibibyte,
    depth: 32,
    isAwake: true,
  },
  'read sequential': { name: '1 MiB sequential read', pattern: 'read', blockBytes: mebibyte, depth: 8 },
  'write sequential': { name: '1 MiB sequential write', pattern: 'write', blockBytes: mebibyte, depth: 8 },
} satisfies Record<string, Load>

const compared: Record<Exclude<Contender, 'volume'>, string> = {
  'pool file': 'the raw pool file, direct I/O',
  'bare loop': 'a bare loop device on the same pool',
  'raw device': 'the raw device under the pool',
}

const againstFile: [keyof typeof loads, number][] = [
  ['read 32', 0.9],
  ['write 32', 0.85],
  ['read 1', 0.65],
  ['write 1', 0.65],
  ['read sequential', 0.95],
  ['write sequential', 0.95],
]
const random = ['read 32', 'write 32', 'read 1', 'write 1'] as const
const awake = ['read 32 awake', 'write 32 awake'] as const

const questions: Question[] = [
  ...againstFile.map(([load, atLeast]) => question(load, 'pool file', atLeast)),
  ...random.map((load) => question(load, 'bare loop', 0.97)),
  ...random.map((load) => question(load, 'raw device')),
  ...awake.map((load) => question(load, 'pool file')),
]

/** A volume in a pool of files, with what it is compared with; all were written once and are of one size. */
export type RawPathPlace = Record<Contender, string>

/** Bytes of a volume that is measured. */
function volumeBytes(quick: boolean): number {
  return (quick ? 128 : 1024) * mebibyte
}

/** Makes the pool, and all that is measured in it. */
export async function openRawPath({ quick, progress }: RunContext): Promise<RawPathPlace> {
  const size = volumeBytes(quick)
  const scratch = await openScratchPool(Math.max(2 * size, 2048 * mebibyte))
  const place = await makeContenders(scratch, size)
  progress('writing everything once')
  for (const path of [place.volume, place['raw device']]) await fill(path)
  return place
}

/** Removes the pool. */
export function closeRawPath(): Promise<void> {
  return removeScratch()
}

/**
 * What reaches the same blocks in other ways: files differ by up to a quarter with where they are on the disk, whoever reads
 * and writes them. The raw device is a twin of the one below the pool, which writing would destroy.
 */
async function makeContenders({ volume, fileOf, loopOver, drive }: ScratchPool, size: number): Promise<RawPathPlace> {
  return {
    volume: await volume('volume', size),
    'pool file': fileOf('volume'),
    'bare loop': await loopOver(fileOf('volume')),
    'raw device': await drive('twin', size),
  }
}

/** What a volume gives, against what lies below it. */
export const rawPathGroup: Group<RawPathPlace> = {
  rows: questions.map(({ row }) => row),
  async measure(place, wanted, context) {
    const asked = questions.filter(({ row }) => wanted.has(row.name))
    const measurements: Record<string, Measurement> = {}
    for (const load of new Set(asked.map((each) => each.load))) {
      const here = asked.filter((each) => each.load === load)
      Object.assign(measurements, await answer(place, load, here, context))
    }
    return measurements
  },
}

function question(load: keyof typeof loads, theirs: Exclude<Contender, 'volume'>, atLeast?: number): Question {
  const name = `${loads[load].name}, against ${theirs}`
  const row = { name, unit: 'ratio', comparedWith: compared[theirs] }
  return { row: atLeast === undefined ? row : { ...row, target: { atLeast } }, load: loads[load], theirs }
}

/** All contenders of one load in the same rounds, next to each other. */
async function answer(place: RawPathPlace, load: Load, asked: Question[], context: RunContext): Promise<Record<string, Measurement>> {
  const contenders: Contender[] = ['volume', ...new Set(asked.map(({ theirs }) => theirs))]
  const results = await measureRounds(place, contenders, load, context)
  return Object.fromEntries(
    asked.map(({ row, theirs }) => {
      const [ours, other] = [results[0]!, results[contenders.indexOf(theirs)]!]
      const { median: value, lowest, highest } = compareRounds(ours, other)
      const range = `${lowest.toFixed(3)}..${highest.toFixed(3)} in ${ours.length} rounds`
      return [row.name, { value, detail: `${range}; ${absolute(load, median(ours))} to ${absolute(load, median(other))}` }]
    }),
  )
} // prettier-ignore

/** Every round measures each once; which comes first, and before which, changes from round to round: one leaves the next something to do. */
async function measureRounds(place: RawPathPlace, contenders: Contender[], load: Load, { quick, progress }: RunContext): Promise<number[][]> {
  const [rounds, seconds] = quick ? [3, 1] : measuringTime(load)
  progress(`${load.name}: ${contenders.join(', ')}`)
  using _awake = load.isAwake ? keepAwake() : undefined
  const results = contenders.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const step = round % 2 === 0 ? turn : contenders.length - 1 - turn
      const index = (round + step) % contenders.length
      results[index]!.push((await runFio(place[contenders[index]!], { ...load, seconds })).bandwidth)
    }
    progress(`  round ${round + 1} of ${rounds}: ${results.map((values) => absolute(load, values.at(-1)!)).join(', ')}`)
  }
  return results
} // prettier-ignore

/** What small requests get varies most from second to second; many short rounds tell more than a few long ones. */
function measuringTime({ depth, blockBytes }: Load): [rounds: number, seconds: number] {
  if (blockBytes === mebibyte) return [9, 2]
  return depth === 1 ? [41, 1] : [25, 1]
}

/** Until it is closed nothing may take longer than 0 us to wake a processor (PM QoS; what tuned's `latency-performance` uses). */
const wakeUpLatency = '/dev/cpu_dma_latency'

/** Keeps processors awake where the kernel lets them sleep through its drivers (cpuidle). */
function keepAwake(): Disposable {
  if (!existsSync(wakeUpLatency)) return { [Symbol.dispose]: () => {} }
  const file = openSync(wakeUpLatency, 'r+')
  writeSync(file, Buffer.alloc(4))
  return { [Symbol.dispose]: () => closeSync(file) }
}

function absolute({ blockBytes, depth }: Load, bandwidth: number): string {
  if (blockBytes === mebibyte) return `${(bandwidth / mebibyte).toFixed(0)} MiB/s`
  return `${(bandwidth / blockBytes / 1000).toFixed(depth === 1 ? 2 : 1)}k IOPS`
}
