import { execJson, Internal } from '../../base/index.ts'
import type { Calibration } from '../../api/index.ts'
import type { Pool } from '../pool-format.ts'
import { derivedId } from './derived-id.ts'

interface FioSide {
  iops: number
  bw_bytes: number
  total_ios: number
  lat_ns: { mean: number }
}

interface FioReport {
  jobs: { jobname: string; read: FioSide; write: FioSide }[]
}

/** Seconds that each of the measurements takes. */
const secondsEach = 1
/** Bytes of the volume that is measured on, at most; on a small pool a quarter of it. */
const largestVolume = 2 ** 30

/** Says what a drive can give, for what volumes of a pool on it do. */
export type Calibrate = (pool: Pool) => Promise<Calibration>

/**
 * Measures a pool by fio on a volume of its own, as volumes are used: 4 KiB random reads and writes with 32 in flight,
 * then 1 MiB sequential ones, then 4 KiB ones with nothing else in flight. The volume is written once before, so that reads find something. Takes some seconds.
 */
export async function calibrate(pool: Pool): Promise<Calibration> {
  const id = derivedId('calibration', pool.id)
  const { capacity, used } = await pool.space()
  const size = Math.max(2 ** 24, Math.min(largestVolume, Math.floor((capacity - used) / 4 / 2 ** 20) * 2 ** 20))
  await removeVolume(pool, id) // of a measurement that was interrupted
  await pool.create({ id, size, sectorSize: pool.sectorSize })
  try {
    const { devicePath } = await pool.activate(id, { readOnly: false })
    return await measure(devicePath)
  } finally {
    await removeVolume(pool, id)
  }
}

async function measure(device: string): Promise<Calibration> {
  await fio(device, [['fill', '--rw=write', '--bs=1M', '--iodepth=8', '--size=100%', `--runtime=${4 * secondsEach}`]])
  const random = ['--bs=4k', '--iodepth=32']
  const sequential = ['--bs=1M', '--iodepth=8']
  const results = new Map<string, FioReport['jobs'][number]>()
  for (const [name, ...options] of [
    ['random-read', '--rw=randread', ...random],
    ['random-write', '--rw=randwrite', ...random],
    ['read', '--rw=read', ...sequential],
    ['write', '--rw=write', ...sequential],
    ['alone', '--rw=randrw', '--bs=4k', '--iodepth=1'],
  ] as const) {
    const [job] = await fio(device, [[name, ...options, '--time_based', `--runtime=${secondsEach}`]])
    results.set(name, job!)
  }
  return {
    readIops: Math.round(results.get('random-read')!.read.iops),
    writeIops: Math.round(results.get('random-write')!.write.iops),
    readBandwidth: Math.round(results.get('read')!.read.bw_bytes),
    writeBandwidth: Math.round(results.get('write')!.write.bw_bytes),
    latency: Math.round(meanLatency(results.get('alone')!)),
    measuredAt: new Date().toISOString(),
  }
}

function meanLatency({ read, write }: FioReport['jobs'][number]): number {
  const sum = read.lat_ns.mean * read.total_ios + write.lat_ns.mean * write.total_ios
  return sum / Math.max(1, read.total_ios + write.total_ios)
}

async function fio(device: string, jobs: string[][]): Promise<FioReport['jobs']> {
  const jobOptions = jobs.flatMap(([name, ...options]) => [`--name=${name}`, ...options])
  const common = [`--filename=${device}`, '--direct=1', '--ioengine=libaio', '--randrepeat=0', '--output-format=json']
  const report = await execJson<FioReport>(['fio', ...common, ...jobOptions], { deadline: 30_000 })
  if (!report?.jobs.length) throw new Internal('fio measured nothing')
  return report.jobs
}

async function removeVolume(pool: Pool, id: string): Promise<void> {
  const entries = await pool.list()
  if (!entries.some((entry) => entry.id === id)) return
  await pool.deactivate(id)
  await pool.delete(id)
}
