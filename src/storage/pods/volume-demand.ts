import {
  Drive,
  kubernetesQuantity,
  Node,
  PerfTier,
  PersistentVolume,
  PersistentVolumeClaim,
  StorageClass,
  Volume,
  type Pod,
} from '../../api/index.ts'
import { iopsRates, nothing, type Amounts } from '../../guarantee/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { driverName } from '../csi/identity-service.ts'
import { choosePlace } from '../controllers/placement.ts'
import { driveTotals } from '../controllers/drive-space.ts'
import { deviceSize } from '../volume-size.ts'

/** What one claim of a pod needs of the node. */
export type VolumeDemand =
  /** A volume that exists: only nodes with an up-to-date copy can use it. */
  | { kind: 'existing'; claimName: string; volumeName: string; nodeNames: string[] }
  /** One that is made on the node that the pod gets. */
  | { kind: 'new'; claimName: string; ask: Amounts }

/** The volumes of Carbonado that a pod uses or is to get; claims of others, and those that do not exist yet, are left out. */
export function volumeDemandsOf({ metadata, spec }: Pod, reader: SyncReader): VolumeDemand[] {
  const { namespace } = metadata
  return (spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    const own = ephemeral === undefined ? undefined : `${metadata.name}-${name}`
    const claimName = persistentVolumeClaim?.claimName ?? own
    const claim =
      claimName === undefined ? undefined : reader.get(PersistentVolumeClaim, { namespace, name: claimName })
    const demand = claim && demandOf(claim, reader)
    return demand ? [demand] : []
  })
}

function demandOf(claim: PersistentVolumeClaim, reader: SyncReader): VolumeDemand | undefined {
  const claimName = claim.metadata.name
  const { volumeName, storageClassName } = claim.spec
  if (volumeName) {
    const csi = reader.get(PersistentVolume, { name: volumeName })?.spec.csi
    if (csi?.driver !== driverName) return undefined
    const volume = reader.get(Volume, { name: csi.volumeHandle })
    return volume && { kind: 'existing', claimName, volumeName: csi.volumeHandle, nodeNames: nodesWithCopy(volume) }
  }
  const storageClass = storageClassName ? reader.get(StorageClass, { name: storageClassName }) : undefined
  if (storageClass?.provisioner !== driverName) return undefined
  const tier = reader.get(PerfTier, { name: storageClass.parameters?.perfTier ?? '' })
  const space = deviceSize(kubernetesQuantity(claim.spec.resources?.requests?.storage) ?? 0)
  return { kind: 'new', claimName, ask: { ...nothing, iops: iopsRates(tier).iopsFloor, space } }
}

function nodesWithCopy({ status }: Volume): string[] {
  const inSync = new Set(status?.inSync ?? [])
  return (status?.plexes ?? []).filter(({ name }) => inSync.has(name)).map(({ nodeName }) => nodeName)
}

/** Why the volumes of a pod cannot be on a node, each reason by itself; empty when they can. A pure function. */
export function volumeProblems(demands: VolumeDemand[], node: Node, drives: Drive[]): string[] {
  const { name } = node.metadata
  const problems = demands.flatMap((demand) => {
    if (demand.kind === 'new' || demand.nodeNames.includes(name)) return []
    const where =
      demand.nodeNames.length === 0 ? 'has no copy that is up to date' : `is on ${demand.nodeNames.join(', ')}`
    return [`volume ${demand.volumeName} of claim ${demand.claimName} ${where}`]
  })
  return [...problems, ...placementProblems(demands, node, drives)]
}

/** Several new volumes share the drives: the largest is placed first. */
function placementProblems(demands: VolumeDemand[], node: Node, drives: Drive[]): string[] {
  const wanted = demands.flatMap((demand) => (demand.kind === 'new' ? [demand] : []))
  if (wanted.length === 0) return []
  const candidates = drives.map((drive) => ({ drive, promised: promisedOf(drive) }))
  return wanted
    .toSorted((one, other) => other.ask.space - one.ask.space)
    .flatMap(({ claimName, ask }) => {
      const placed = choosePlace({ who: `claim ${claimName}`, askOf: () => ask }, candidates, [node])
      if ('refused' in placed) return [`claim ${claimName}: ${reasonOf(placed.refused.details)}`]
      const { promised } = candidates.find(({ drive }) => drive.metadata.name === placed.driveName)!
      promised.iops += ask.iops
      promised.space += ask.space
      return []
    })
}

function promisedOf({ status }: Drive): Amounts {
  return { ...nothing, iops: status?.capacity?.iops.promised ?? 0, space: status?.capacity?.space.promised ?? 0 }
}

/** The reasons of a placement name the node, which is known here. */
function reasonOf(details: Record<string, unknown> | undefined): string {
  const reasons = (details?.reasons ?? []) as string[]
  return reasons.map((reason) => reason.slice(reason.indexOf(': ') + 2)).join('; ')
}

/** Share left of the scarcest thing that new volumes take on the best drive, 0 to 1; 1 when there are none. */
export function driveShareLeft(demands: VolumeDemand[], drives: Drive[]): number {
  if (!demands.some(({ kind }) => kind === 'new')) return 1
  const shares = drives.map((drive) => {
    const [total, promised] = [driveTotals(drive), promisedOf(drive)]
    const left = (['iops', 'space'] as const)
      .filter((each) => total[each] > 0)
      .map((each) => 1 - promised[each] / total[each])
    return left.length === 0 ? 0 : Math.max(0, Math.min(...left))
  })
  return Math.max(0, ...shares)
}
