import { setTimeout as sleep } from 'node:timers/promises'
import { status, type ServiceError } from '@grpc/grpc-js'
import type { Lab } from '../../lab/index.ts'
import { CsiClient } from '../../lab/csi-client.ts'
import { bringUp, createVolume, makeFolders, takeDown } from '../../lab/csi-use.ts'
import { labLoopDevices } from '../../lab/drives.ts'
import { Plex, Volume, VolumeAttachment } from '../../src/api/index.ts'
import { freshLab } from '../network/fresh-lab.ts'
import { quantile } from '../statistics.ts'
import type { Group, Measurement, Row, RunContext } from '../suite.ts'

const names = {
  one: 'CSI CreateVolume to NodePublish done, p50',
  oneP99: 'CSI CreateVolume to NodePublish done, p99',
  many: 'CSI CreateVolume to NodePublish done, 200 volumes, 16 at a time, p50',
  total: 'CSI, 200 volumes made, mounted, unmounted and deleted, 16 at a time',
  leaked: 'CSI, devices, mounts and objects left of 200 volumes',
}

/** One after the other, and at that many at a time. */
const rounds = { whole: 60, quick: 20 }
const many = { whole: 200, quick: 32, sideBySide: 16 }

const rows: Row[] = [
  { name: names.one, unit: 'ms', target: { atMost: 150 } },
  { name: names.oneP99, unit: 'ms' },
  { name: names.many, unit: 'ms' },
  { name: names.total, unit: 's' },
  { name: names.leaked, unit: '', target: { exactly: 0 } },
]

/** The lab with a formatted drive. */
export async function openCsiLab(context: RunContext): Promise<Lab> {
  const lab = await freshLab(null, context, 1)
  await lab.dctl(['drive', 'format', 'n1.drive0', '-y'], { deadline: 60_000 })
  return lab
}

/** From the first call for an ext4 volume until a container could use it, and the way back, as an orchestrator asks for it. */
export const csiGroup: Group<Lab> = {
  rows,
  async measure(lab, _wanted, { quick, progress }) {
    using csi = new CsiClient('n1')
    await life(lab, csi, 'warm')
    progress('volumes one after the other')
    const single: number[] = []
    for (let round = 0; round < (quick ? rounds.quick : rounds.whole); round += 1) {
      single.push(await life(lab, csi, `one${round}`))
    }
    const count = quick ? many.quick : many.whole
    progress(`${count} volumes, ${many.sideBySide} at a time`)
    const { times, seconds } = await storm(lab, csi, count)
    const left = await leftOf(lab)
    const detail = (values: number[]): string =>
      `${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)} ms`
    return {
      [names.one]: { value: quantile(single, 0.5), detail: detail(single) },
      [names.oneP99]: { value: quantile(single, 0.99) },
      [names.many]: { value: quantile(times, 0.5), detail: `${detail(times)}, ${count} volumes` },
      [names.total]: { value: seconds, detail: `${count} volumes` },
      [names.leaked]: { value: left.length, detail: left.join(', ') },
    } satisfies Record<string, Measurement>
  },
}

/** The whole life of a volume; milliseconds until it could be used. */
async function life(lab: Lab, csi: CsiClient, volume: string): Promise<number> {
  await makeFolders(lab, 'n1', [volume])
  const use = { volume, node: 'n1', filesystem: 'ext4' } as const
  const begun = performance.now()
  await again(() => createVolume(csi, use))
  await again(() => bringUp(csi, use))
  const took = performance.now() - begun
  await end(csi, volume)
  return took
}

async function end(csi: CsiClient, volume: string): Promise<void> {
  await again(() => takeDown(csi, volume, 'n1'))
  await again(() => csi.call('DeleteVolume', { volumeId: volume }))
}

/** As orchestrators do: a call that is told to be repeated is repeated. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call()
    } catch (error) {
      const { code } = error as ServiceError
      if (attempt === 20 || (code !== status.UNAVAILABLE && code !== status.ABORTED)) throw error
      await sleep(20)
    }
  }
}

/** All of them exist at one time before the first goes. */
async function storm(lab: Lab, csi: CsiClient, count: number): Promise<{ times: number[]; seconds: number }> {
  const volumes = Array.from({ length: count }, (_, number) => `many${number}`)
  await makeFolders(lab, 'n1', volumes)
  const times: number[] = []
  const begun = performance.now()
  await sideBySide(volumes, async (volume) => {
    const use = { volume, node: 'n1', filesystem: 'ext4' } as const
    const start = performance.now()
    await again(() => createVolume(csi, use))
    await again(() => bringUp(csi, use))
    times.push(performance.now() - start)
  })
  await sideBySide(volumes, (volume) => end(csi, volume))
  return { times, seconds: (performance.now() - begun) / 1000 }
}

/** Waits for all of them also when one fails: the lab is not taken down under calls that run. */
async function sideBySide(volumes: string[], work: (volume: string) => Promise<void>): Promise<void> {
  const waiting = [...volumes]
  const results = await Promise.allSettled(
    Array.from({ length: many.sideBySide }, async () => {
      for (let volume = waiting.shift(); volume !== undefined; volume = waiting.shift()) await work(volume)
    }),
  )
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}

async function leftOf(lab: Lab): Promise<string[]> {
  const objects = await Promise.all(
    [Volume, Plex, VolumeAttachment].map(async (kind) => (await lab.store.list(kind as typeof Volume)).items),
  )
  const mounts = await lab.nodeExec('n1', ['sh', '-c', 'grep -c " /run/csi/" /proc/self/mountinfo || true'])
  const devices = labLoopDevices()
    .map(({ devicePath }) => devicePath)
    .slice(0, -1) // the last one is the drive itself
  return [
    ...objects.flat().map(({ kind, metadata }) => `${kind} ${metadata.name}`),
    ...devices,
    ...(Number(mounts.stdout) > 0 ? [`${mounts.stdout.trim()} mounts`] : []),
  ]
}
