import { execJson, Internal, NotFound } from '../../src/base/index.ts'

/** What fio does to a device: blocks of one size in one order. */
export interface FioJob {
  pattern: 'randread' | 'randwrite' | 'read' | 'write'
  blockBytes: number
  /** Requests in flight. */
  depth: number
  seconds: number
}

/** What fio saw. */
export interface FioResult {
  iops: number
  /** Bytes per second. */
  bandwidth: number
  /** Milliseconds from a request to its completion. */
  latency: { p50: number; p99: number; longest: number }
}

interface FioSide {
  iops: number
  bw_bytes: number
  clat_ns: { max: number; percentile?: Record<string, number> }
}

const common = ['--name=bench', '--ioengine=libaio', '--direct=1', '--randrepeat=0', '--norandommap', '--output-format=json'] // prettier-ignore

/** Runs fio on a device or a file that is there in full. Throws NotFound when fio is missing. */
export async function runFio(path: string, { pattern, blockBytes, depth, seconds }: FioJob): Promise<FioResult> {
  const job = [`--rw=${pattern}`, `--bs=${blockBytes}`, `--iodepth=${depth}`, '--time_based', `--runtime=${seconds}`]
  const side = pattern.endsWith('read') ? 'read' : 'write'
  const { iops, bw_bytes: bandwidth, clat_ns: latency } = (await fio(path, job, seconds))[side]
  const at = (percentile: string): number => (latency.percentile?.[percentile] ?? NaN) / 1e6
  return { iops, bandwidth, latency: { p50: at('50.000000'), p99: at('99.000000'), longest: latency.max / 1e6 } }
}

/** Writes all of a device or file once, so that reads find something and nothing is left to be allocated. */
export async function fill(path: string): Promise<void> {
  await fio(path, ['--rw=write', '--bs=1M', '--iodepth=8', '--size=100%', '--refill_buffers'], 300)
}

async function fio(path: string, job: string[], seconds: number): Promise<{ read: FioSide; write: FioSide }> {
  const command = ['fio', `--filename=${path}`, ...common, ...job] as [string, ...string[]]
  const report = await execJson<{ jobs: { read: FioSide; write: FioSide }[] }>(command, {
    deadline: (seconds + 60) * 1000,
  }).catch((error: unknown) => {
    if (!String(error).includes('ENOENT')) throw error
    throw new NotFound('fio is missing', { remedy: 'Install it: apt-get install fio' })
  })
  if (!report?.jobs[0]) throw new Internal('fio measured nothing')
  return report.jobs[0]
}
