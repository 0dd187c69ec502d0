import { expect } from 'vitest'
import { labLoopDevices } from '../../lab/drives.ts'
import type { Lab } from '../../lab/index.ts'
import { nodePools } from '../../lab/places.ts'
import {
  Drive,
  Plex,
  Snapshot,
  Volume,
  VolumeAttachment,
  type KindDefinition,
  type KubeObject,
} from '../../src/api/index.ts'
import { CarbonadoError } from '../../src/base/index.ts'
import { VolumeAttacher } from '../../src/storage/agent/index.ts'
import { isNotFound } from '../../src/store/index.ts'
import { amongKills, insist, type KillStormOptions } from './among-kills.ts'

/**
 * Users who create, write, snapshot, clone, enlarge and delete volumes while agents and control are killed at random
 * moments. What was written is read again through volume and clone. Returns how many programs were killed.
 */
export function volumeStorm(lab: Lab, options: KillStormOptions): Promise<number> {
  return amongKills(lab, options, async (worker, rounds) => {
    const node = lab.nodes[worker % lab.nodes.length]!
    for (const round of rounds) await lifeOf(lab, `storm${worker}-${round}`, node)
  })
}

/** What a user does with one volume; what fails because something was killed is done again. */
async function lifeOf(lab: Lab, name: string, node: string): Promise<void> {
  const { store } = lab
  const attacher = new VolumeAttacher({ store, nodeName: node })
  const [snapshot, clone] = [`${name}-s`, `${name}-c`]
  const spec = { size: '64Mi', mirrorCount: 1, nodeNames: [node] }
  await createSurely(lab, Volume, { metadata: { name }, spec })
  const sum = await insist(async () => writeTo(lab, node, await attacher.attach(name)))
  await createSurely(lab, Snapshot, { metadata: { name: snapshot }, spec: { volumeName: name } })
  await insist(() => store.patch(Volume, { name }, { spec: { size: '96Mi' } }))
  await insist(async () => {
    const { status } = await store.get(Snapshot, { name: snapshot })
    if (status?.phase !== 'Ready') throw new Error(`the snapshot is ${status?.phase}: ${status?.message}`)
  })
  const source = { snapshotName: snapshot }
  await createSurely(lab, Volume, { metadata: { name: clone }, spec: { ...spec, size: '96Mi', source } })
  for (const each of [name, clone]) {
    expect(await insist(async () => readFrom(lab, node, await attacher.attach(each))), each).toBe(sum)
    await insist(() => attacher.detach(each))
  }
  await insist(() => gone(() => store.delete(Snapshot, { name: snapshot })))
  for (const each of [name, clone]) await insist(() => gone(() => store.delete(Volume, { name: each })))
}

/** Writes a MiB past all caches and returns its checksum. */
async function writeTo(lab: Lab, node: string, device: string): Promise<string> {
  const script = `head -c 1M /dev/urandom > "$1"; dd if="$1" of="$2" bs=1M oflag=direct conv=fsync status=none; sha256sum < "$1"; rm "$1"`
  const file = `/run/storm-${device.replaceAll('/', '-')}`
  return (await lab.nodeExec(node, ['sh', '-ec', script, 'sh', file, device], { deadline: 60_000 })).stdout
}

async function readFrom(lab: Lab, node: string, device: string): Promise<string> {
  const script = 'dd if="$1" bs=1M count=1 iflag=direct status=none | sha256sum'
  return (await lab.nodeExec(node, ['sh', '-ec', script, 'sh', device], { deadline: 60_000 })).stdout
}

/** Deletes again and again until it is not there. */
async function gone(remove: () => Promise<unknown>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    if (isNotFound(error)) return
    throw error
  }
  throw new Error('it is still there')
}

/** Creates it until it is there; that it exists already means that only the answer was lost. */
async function createSurely<T extends KubeObject>(lab: Lab, kind: KindDefinition<T>, object: T): Promise<void> {
  await insist(() =>
    lab.store.create(kind, object).catch((error: unknown) => {
      if (!(error instanceof CarbonadoError && error.message.includes('exists'))) throw error
    }),
  )
}

/** Deletes all volumes with all that hangs on them. */
export async function takeVolumesAway(lab: Lab): Promise<void> {
  for (const kind of [VolumeAttachment, Snapshot, Volume]) {
    await insist(async () => {
      const { items } = await lab.store.list(kind as typeof Volume)
      for (const { metadata } of items) await lab.store.delete(kind as typeof Volume, metadata).catch(() => {})
      if (items.length > 0) throw new Error(`there are still ${items.length} ${kind.plural}`)
    })
  }
}

/** No objects, no devices, nothing promised, nothing in the pools of nodes that have one. */
export async function expectNoVolumes(lab: Lab): Promise<void> {
  for (const kind of [Volume, Plex, Snapshot, VolumeAttachment]) {
    expect((await lab.store.list(kind as typeof Volume)).items.map(({ metadata }) => metadata.name)).toEqual([])
  }
  for (const node of lab.nodes) {
    const drive = await insist(async () => {
      const { status } = await lab.store.get(Drive, { name: `${node}.drive0` })
      const { space, iops } = status?.capacity ?? {}
      if (status?.agent?.state === 'Blank' && !space) return status // it has no pool
      if (iops?.promised !== 0 || space?.promised !== status?.agent?.pool?.held) {
        throw new Error(`drive ${node}.drive0 is promised: ${JSON.stringify(status)}`)
      }
      return status
    })
    expect(drive!.agent!.found).toEqual([])
    if (drive!.agent!.state === 'Blank') continue
    const files = await lab.nodeExec(node, ['find', nodePools(node), '-type', 'f', '-size', '+1M'])
    expect(files.stdout).toBe('')
  }
  expect(labLoopDevices().length, 'loop devices beside those of the drives').toBe(lab.nodes.length)
}
