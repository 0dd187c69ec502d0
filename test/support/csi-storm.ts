import { status, type ServiceError } from '@grpc/grpc-js'
import { expect } from 'vitest'
import { CsiClient } from '../../lab/csi-client.ts'
import { bringUp, createVolume, makeFolders, takeDown, type CsiUse } from '../../lab/csi-use.ts'
import type { Lab } from '../../lab/index.ts'
import { nodePlaces } from '../../lab/places.ts'
import { amongKills, insist, type KillStormOptions } from './among-kills.ts'
import { expectNoVolumes } from './volume-storm.ts'

/**
 * Orchestrators that create, mount, write, snapshot, clone, enlarge, unmount and delete volumes over CSI while agents and
 * control are killed at random moments; each call is made again until it succeeds. What was written and flushed is read
 * again through volume and clone. Afterwards nothing is left. Returns how many programs were killed.
 */
export async function csiStorm(lab: Lab, options: KillStormOptions): Promise<number> {
  const filesystems = ['ext4', 'block', 'ext4', 'xfs'] as const
  const killed = await amongKills(lab, options, async (worker, rounds) => {
    const node = lab.nodes[worker % lab.nodes.length]!
    const filesystem = filesystems[worker % filesystems.length]!
    using csi = new CsiClient(node)
    for (const round of rounds) await life(lab, csi, { volume: `csi${worker}-${round}`, node, filesystem })
  })
  await expectNothingMounted(lab)
  await expectNoVolumes(lab)
  return killed
}

async function life(lab: Lab, csi: CsiClient, use: CsiUse): Promise<void> {
  const { volume, node, filesystem } = use
  const clone = `${volume}-c`
  const snapshotId = `${volume}-s`
  const size = (filesystem === 'xfs' ? 300 : 32) * 2 ** 20
  await makeFolders(lab, node, [volume, clone])
  await insistOn(() => createVolume(csi, use, { size }))
  const target = await insistOn(() => bringUp(csi, use))
  const sum = await write(lab, node, target, filesystem)
  await insistOn(() => csi.call('CreateSnapshot', { sourceVolumeId: volume, name: snapshotId }))
  await insistOn(() =>
    csi.call('ControllerExpandVolume', { volumeId: volume, capacityRange: { requiredBytes: size + 2 ** 24 } }),
  )
  await insistOn(() => createVolume(csi, { ...use, volume: clone }, { size, source: { snapshot: { snapshotId } } }))
  const cloned = await insistOn(() => bringUp(csi, { ...use, volume: clone }))
  for (const path of [target, cloned]) expect(await read(lab, node, path, filesystem), path).toBe(sum)
  for (const each of [volume, clone]) await insistOn(() => takeDown(csi, each, node))
  await insistOn(() => csi.call('DeleteSnapshot', { snapshotId }))
  for (const volumeId of [volume, clone]) await insistOn(() => csi.call('DeleteVolume', { volumeId }))
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
function insistOn<T>(call: () => Promise<T>): Promise<T> {
  return insist(call, { patience: 60_000, mayPass: (error) => passing.has((error as ServiceError).code) })
}
