import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { Volume } from '../src/api/index.ts'
import { InvalidInput } from '../src/base/index.ts'
import { RestStore } from '../src/store/rest/index.ts'
import type { PublishedVolume } from './csi.ts'
import { labConnection } from './programs.ts'
import { machinePid, type ContainerState } from './state.ts'

/** A volume of a container: where it is on the node, and where the container sees it. */
export interface ContainerVolume extends PublishedVolume {
  destination: string
}

/** Takes `NAME:PATH` apart. Throws InvalidInput. */
function parseVolume(text: string): { name: string; destination: string } {
  const [name = '', destination = ''] = text.split(':')
  const isWritable = /^\/(run|tmp|dev)\/./.test(destination)
  if (name !== '' && destination.startsWith('/') && (isWritable || existsSync(destination)))
    return { name, destination }
  throw new InvalidInput(`--volume "${text}" is not NAME:PATH with a path that a container of the lab can have`, {
    remedy:
      'Its root is that of this machine, read-only: use a folder that is there, or a path below /run, /tmp or /dev.',
  })
}

/** Publishes the volumes of a container on its node as kubelet does, and remembers them before. */
export async function publishVolumes(state: ContainerState, wanted: string[], remember: () => void): Promise<void> {
  if (wanted.length === 0) return
  const { publishVolume } = await import('./csi.ts') // gRPC takes its time to load
  const store = new RestStore(labConnection()!)
  try {
    for (const text of wanted) {
      const { name, destination } = parseVolume(text)
      const { spec } = await store.get(Volume, { name })
      const volume = placeOf(state, name, destination, spec.filesystem === undefined)
      state.volumes = [...(state.volumes ?? []), volume]
      remember()
      mkdirSync(dirname(onHost(state, volume.targetPath)), { recursive: true, mode: 0o750 })
      mkdirSync(onHost(state, volume.isBlock ? dirname(volume.stagingPath) : volume.stagingPath), {
        recursive: true,
        mode: 0o750,
      })
      await publishVolume(state.node, volume)
    }
  } finally {
    await store.close()
  }
}

/** Takes back what a container had. */
export async function unpublishVolumes({ node, volumes = [] }: ContainerState): Promise<void> {
  if (volumes.length === 0) return
  const { unpublishVolume } = await import('./csi.ts')
  for (const volume of volumes) await unpublishVolume(node, volume)
}

/** Mounts and devices of the OCI configuration of a container that has these volumes. */
export function volumeConfiguration(state: ContainerState): { mounts: object[]; devices: object[] } {
  const volumes = state.volumes ?? []
  const mounts = volumes.map(({ targetPath, destination }) => {
    return { destination, type: 'bind', source: targetPath, options: ['rbind', 'rw'] }
  })
  const devices = volumes.flatMap(({ isBlock, targetPath }) => {
    if (!isBlock) return []
    const { rdev } = statSync(onHost(state, targetPath))
    const [major, minor] = [(rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00)]
    return [{ allow: true, type: 'b', major, minor, access: 'rw' }]
  })
  return { mounts, devices }
}

/** Paths as kubelet has them: the uid of the pod is among them, and in its cgroup. */
function placeOf({ podUid }: ContainerState, name: string, destination: string, isBlock: boolean): ContainerVolume {
  const kubelet = '/var/lib/kubelet'
  const devices = `${kubelet}/plugins/kubernetes.io/csi/volumeDevices`
  return isBlock
    ? {
        name,
        destination,
        isBlock,
        stagingPath: `${devices}/staging/${name}`,
        targetPath: `${devices}/publish/${name}/${podUid}`,
      }
    : {
        ...{
          name,
          destination,
          isBlock,
          stagingPath: `${kubelet}/plugins/kubernetes.io/csi/csi.carbonado.io/${name}/globalmount`,
        },
        targetPath: `${kubelet}/pods/${podUid}/volumes/kubernetes.io~csi/${name}/mount`,
      }
}

function onHost({ node }: ContainerState, path: string): string {
  return `/proc/${machinePid(node)}/root${path}`
}
