import type { Lab } from './index.ts'
import { capability, type CsiClient } from './csi-client.ts'

/** Paths at which a node of the lab has a volume; those of kubelet look alike. */
export function pathsOf(volume: string): { staging: string; target: string } {
  return { staging: `/run/csi/${volume}/staging`, target: `/run/csi/${volume}/target` }
}

/** What an orchestrator says with every call about a volume. */
export interface CsiUse {
  volume: string
  node: string
  filesystem: 'ext4' | 'xfs' | 'block'
  mode?: string
  readOnly?: boolean
}

/** Makes a volume; returns its id. */
export async function createVolume(
  csi: CsiClient,
  { volume, node, filesystem, mode }: CsiUse,
  more: { size?: number; source?: object; parameters?: Record<string, string> } = {},
): Promise<string> {
  const topology = [{ segments: { 'topology.carbonado.io/node': node } }]
  const answer = await csi.call<{ volume: { volumeId: string } }>('CreateVolume', {
    name: volume,
    capacityRange: { requiredBytes: more.size ?? (filesystem === 'xfs' ? 300 : 16) * 2 ** 20 },
    volumeCapabilities: [capability(filesystem, mode)],
    parameters: more.parameters ?? {},
    accessibilityRequirements: { requisite: topology, preferred: topology },
    ...(more.source ? { volumeContentSource: more.source } : {}),
  })
  return answer.volume.volumeId
}

/** From the right to use a volume to where a container sees it, in kubelet's order; returns that path. */
export async function bringUp(csi: CsiClient, use: CsiUse): Promise<string> {
  const { volume: volumeId, node: nodeId, filesystem, mode, readOnly: readonly = false } = use
  const { staging: stagingTargetPath, target: targetPath } = pathsOf(volumeId)
  const volumeCapability = capability(filesystem, mode)
  const { publishContext } = await csi.call<{ publishContext: object }>('ControllerPublishVolume', { volumeId, nodeId, volumeCapability, readonly }) // prettier-ignore
  const said = { volumeId, publishContext, volumeCapability }
  await csi.call('NodeStageVolume', { ...said, stagingTargetPath })
  await csi.call('NodePublishVolume', { ...said, stagingTargetPath, targetPath, readonly })
  return targetPath
}

/** The way back. */
export async function takeDown(csi: CsiClient, volumeId: string, nodeId: string): Promise<void> {
  const { staging: stagingTargetPath, target: targetPath } = pathsOf(volumeId)
  await csi.call('NodeUnpublishVolume', { volumeId, targetPath })
  await csi.call('NodeUnstageVolume', { volumeId, stagingTargetPath })
  await csi.call('ControllerUnpublishVolume', { volumeId, nodeId })
}

/** Makes the folders that an orchestrator makes before it calls. */
export async function makeFolders(lab: Lab, node: string, volumes: string[]): Promise<void> {
  await lab.nodeExec(node, ['mkdir', '-p', ...volumes.map((volume) => pathsOf(volume).staging)])
}
