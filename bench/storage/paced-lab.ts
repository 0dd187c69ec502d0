import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Drive, PerfTier, VolumeAttachment } from '../../src/api/index.ts'
import { Lab, takeLabDown, type Container } from '../../lab/index.ts'
import { parseDiskStat } from '../../src/storage/io-limits/disk-stat.ts'
import { createNetwork } from '../network/fresh-lab.ts'
import type { RunContext } from '../suite.ts'

/** Operations per second of the drive: well below what the machine can do, so that the drive is what is short. */
export const driveIops = 8000
const neighbourCount = 8
const network = 'pods'

/** A node with a drive of a known speed, a promised volume in a container, and neighbours with volumes on that drive. */
export interface PacedLab {
  lab: Lab
  gold: Container
  neighbours: Container[]
  /** What the drive was measured to give, and what of it gold is promised; operations per second. */
  calibrated: number
  floor: number
}

/** Builds it; every volume has a filesystem, and is written once. */
export async function openPacedLab(context: RunContext): Promise<PacedLab> {
  await takeLabDown()
  const lab = await Lab.up({ nodes: 1, rate: null, driveIops, onProgress: (step) => context.progress(`lab: ${step}`) })
  await createNetwork(lab, network, 100)
  context.progress('drive: being calibrated')
  await lab.dctl(['drive', 'format', 'n1.drive0', '-y'], { deadline: 60_000 })
  const { readIops, writeIops } = (await lab.store.get(Drive, { name: 'n1.drive0' })).status!.agent!.calibration!
  const calibrated = Math.min(readIops, writeIops)
  const floor = Math.floor(calibrated / 2)
  await lab.store.create(PerfTier, { metadata: { name: 'gold' }, spec: { storageIops: floor } })
  const gold = await containerWithVolume(lab, 'gold', 'gold')
  const names = Array.from({ length: neighbourCount }, (_, index) => `neighbour-${index + 1}`)
  const neighbours = await Promise.all(names.map((name) => containerWithVolume(lab, name)))
  context.progress('volumes: being filled')
  await Promise.all(
    [gold, ...neighbours].map((each) => each.exec(fio(['--rw=write', '--bs=1M', '--direct=1']), { deadline: 60_000 })),
  )
  return { lab, gold, neighbours, calibrated, floor }
}

/** Takes the lab down. */
export async function closePacedLab({ lab }: PacedLab): Promise<void> {
  await lab.down()
}

/** A run of fio on the file of a container's volume. */
export function fio(options: string[]): string[] {
  const file = ['--name=load', '--filename=/run/data/file', '--size=160M', '--ioengine=libaio', '--output-format=json']
  return ['fio', ...file, ...options]
}

/** The kernel's name of the device of a volume. */
export async function deviceOf(lab: Lab, volume: string): Promise<string> {
  const { status } = await lab.store.get(VolumeAttachment, { name: volume })
  return basename(status!.devicePath!)
}

/** Operations that a device has done since it exists. */
export function operationsOf(device: string): number {
  return parseDiskStat(readFileSync(`/sys/block/${device}/stat`, 'utf8')).operations
}

async function containerWithVolume(lab: Lab, name: string, perfTierName?: string): Promise<Container> {
  const tier = perfTierName === undefined ? [] : ['--perf-tier', perfTierName]
  await lab.dctl(['volume', 'create', name, '--size', '224Mi', ...tier], { deadline: 60_000 })
  return lab.startContainer({ node: 'n1', name, network, volumes: [`${name}:/run/data`] })
}
