import { setTimeout as sleep } from 'node:timers/promises'
import { status, type ServiceError } from '@grpc/grpc-js'
import { expect } from 'vitest'
import { CsiClient } from '../../lab/csi-client.ts'
import { bringUp, createVolume, makeFolders, takeDown, type CsiUse } from '../../lab/csi-use.ts'
import type { Lab } from '../../lab/index.ts'
import { nodePlaces } from '../../lab/places.ts'
import { expectNoVolumes } from './volume-storm.ts'

/** How long a storm lasts: rounds of each worker, or until so many programs were killed. */
export interface CsiStormOptions {
  workers: number
  rounds?: number
  kills?: number
}

/**
 * Orchestrators that create, mount, write, snapshot, clone, enlarge, unmount and delete volumes over CSI while agents and
 * control are killed at random moments; each call is made again until it succeeds. What was written and flushed is read
 * again through volume and clone. Afterwards nothing is left. Returns how many programs were killed.
 */
export async function csiStorm(
  lab: Lab,
  { workers, rounds = Infinity, kills = Infinity }: CsiStormOptions,
): Promise<number> {
  let killed = 0
  let isOver = false
  const killing = (async () => {
    while (!isOver) {
      await sleep(Math.random() * 500)
      await killOne(lab)
      killed += 1
    }
  })()
  const filesystems = ['ext4', 'block', 'ext4', 'xfs'] as const
  const work = Array.from({ length: workers }, async (_, number) => {
    const node = lab.nodes[number % lab.nodes.length]!
    using csi = new CsiClient(node)
    for (let round = 0; round < rounds && killed < kills; round += 1) {
      await life(lab, csi, {
        volume: `csi${number}-${round}`,
        node,
        filesystem: filesystems[number % filesystems.length]!,
      })
    }
  })
  try {
    await Promise.all(work)
  } finally {
    isOver = true
    await killing
  }
  await expectNothingMounted(lab)
  await expectNoVolumes(lab)
  return killed
}

async function killOne(lab: Lab): Promise<void> {
  const node = lab.nodes[Math.floor(Math.random() * (lab.nodes.length + 1))]
  if (node === undefined) {
    await lab.stopControl({ kill: true })
    await lab.startControl()
  } else {
    await lab.killAgent(node)
    await lab.startAgent(node)
  }
}

async function life(lab: Lab, csi: CsiClient, use: CsiUse): Promise<void> {
  const { volume, node, filesystem } = use
  const clone = `${volume}-c`
  const snapshotId = `${volume}-s`
  const size = (filesystem === 'xfs' ? 300 : 32) * 2 ** 20
  await makeFolders(lab, node, [volume, clone])
  await insist(() => createVolume(csi, use, { size }))
  const target = await insist(() => bringUp(csi, use))
  const sum = await write(lab, node, target, filesystem)
  await insist(() => csi.call('CreateSnapshot', { sourceVolumeId: volume, name: snapshotId }))
  await insist(() =>
    csi.call('ControllerExpandVolume', { volumeId: volume, capacityRange: { requiredBytes: size + 2 ** 24 } }),
  )
  await insist(() => createVolume(csi, { ...use, volume: clone }, { size, source: { snapshot: { snapshotId } } }))
  const cloned = await insist(() => bringUp(csi, { ...use, volume: clone }))
  for (const path of [target, cloned]) expect(await read(lab, node, path, filesystem), path).toBe(sum)
  for (const each of [volume, clone]) await insist(() => takeDown(csi, each, node))
  await insist(() => csi.call('DeleteSnapshot', { snapshotId }))
  for (const volumeId of [volume, clone]) await insist(() => csi.call('DeleteVolume', { volumeId }))
  await lab.nodeExec(node, ['rm', '-r', ...[volume, clone].map((each) => `/run/csi/${each}`)])
}

const fileOn = (target: string, filesystem: string): string => (filesystem === 'block' ? target : `${target}/file`)

/** Writes a MiB, flushed; returns its checksum. */
async function write(lab: Lab, node: string, target: string, filesystem: string): Promise<string> {
  const script = 'head -c 1M /dev/urandom > "$1"; dd if="$1" of="$2" bs=1M oflag=direct conv=fsync status=none; sync -f "$2"; sha256sum < "$1"; rm "$1"' // prettier-ignore
  const scratch = `/run/csi-${target.replaceAll('/', '-')}`
  return (await lab.nodeExec(node, ['sh', '-ec', script, 'sh', scratch, fileOn(target, filesystem)], { deadline: 60_000 })).stdout // prettier-ignore
}

async function read(lab: Lab, node: string, target: string, filesystem: string): Promise<string> {
  const script = 'dd if="$1" bs=1M count=1 iflag=direct status=none | sha256sum'
  return (await lab.nodeExec(node, ['sh', '-ec', script, 'sh', fileOn(target, filesystem)], { deadline: 60_000 }))
    .stdout
}

/** No mount of a volume, no path that was published, no record of one. */
async function expectNothingMounted(lab: Lab): Promise<void> {
  for (const node of lab.nodes) {
    const script = `grep " /run/csi/" /proc/self/mountinfo || true; find /run/csi -mindepth 1 -name 'csi[0-9]*'; find ${nodePlaces.agentState}/volumes -type f`
    expect((await lab.nodeExec(node, ['sh', '-c', script])).stdout, node).toBe('')
  }
}

/** Codes that an orchestrator repeats a call for; any other is a failure of the storm. */
const passing = new Set([status.UNAVAILABLE, status.ABORTED, status.DEADLINE_EXCEEDED, status.CANCELLED])

/** The call until it succeeds. A program that was killed is noticed only by an answer that does not come. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  const giveUp = Date.now() + 60_000
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const code = (error as ServiceError).code
      if (!passing.has(code) || Date.now() > giveUp) throw error
      await sleep(50)
    }
  }
}
