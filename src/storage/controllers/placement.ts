import type { Drive, Node } from '../../api/index.ts'
import { Exhausted, type CarbonadoError } from '../../base/index.ts'
import { describeShortfall, fit, remedyFor, resources, type Amounts, type Shortfall } from '../../guarantee/index.ts'
import { driveTotals } from './drive-space.ts'

/** Above this share of a format's own metadata space nothing new begins there. */
export const metadataLimit = 0.75

/** Above this share of a pool's bytes nothing new begins there, whatever was promised. */
const usedLimit = 0.95

/** A drive with what is promised of it. */
export interface Candidate {
  drive: Drive
  promised: Amounts
}

/** What is to be placed, and where it may be. */
export interface PlacementRequest {
  /** For messages, such as `volume v1`. */
  who: string
  /** What it takes of a drive: a clone shares blocks with its source on the same drive only. */
  askOf: (drive: Drive) => Amounts
  /** Absent: any. */
  nodeNames?: string[]
  selector?: Record<string, string>
  /** Taken whenever it fits. */
  preferredDrive?: string
  /** The first of these that it fits on comes before all others. */
  preferredNodes?: string[]
}

/** Where something goes, or why nowhere. */
export type Placement = { driveName: string } | { refused: CarbonadoError }

interface Fitting {
  driveName: string
  nodeName: string
  /** Share left of the scarcest resource, 0 to 1. */
  left: number
}

/**
 * Chooses a drive: the preferred one when it fits, else the one that has the largest share left of whatever it would
 * have least of. When none fits the refusal says for every node why, with numbers.
 */
export function choosePlace(request: PlacementRequest, candidates: Candidate[], nodes: Node[]): Placement {
  const reasons: string[] = []
  const shortfalls: Shortfall[] = []
  const fitting: Fitting[] = []
  for (const node of [...nodes].sort((one, other) => byName(one, other))) {
    const excluded = nodeProblem(request, node)
    const drives = candidates.filter(({ drive }) => drive.spec.nodeName === node.metadata.name)
    if (excluded !== undefined || drives.length === 0) {
      reasons.push(`${node.metadata.name}: ${excluded ?? 'it has no drive'}`)
      continue
    }
    for (const candidate of drives.sort((one, other) => byName(one.drive, other.drive))) {
      const verdict = judge(request, candidate)
      if ('left' in verdict) {
        const { drive } = candidate
        fitting.push({ driveName: drive.metadata.name, nodeName: drive.spec.nodeName, left: verdict.left })
      } else {
        reasons.push(`${node.metadata.name}: ${verdict.reason}`)
        shortfalls.push(...(verdict.shortfalls ?? []))
      }
    }
  }
  const preferred = fitting.find(({ driveName }) => driveName === request.preferredDrive)
  const best = preferred ?? onBestNode(request, fitting).reduce<Fitting | undefined>(roomier, undefined)
  return best ? { driveName: best.driveName } : { refused: nothingFits(request, reasons, shortfalls) }
}

/** Why nothing new may begin on a drive, apart from numbers of what is promised; undefined when it may. */
export function driveProblem({ metadata: { name }, spec, status }: Drive): string | undefined {
  const { state, message, pool, requestId, refused } = status?.agent ?? {}
  if (state !== 'Ready' || !pool) {
    const advice = state === 'Blank' || state === 'Foreign' ? ' (format it with `dctl drive format`)' : ''
    return `drive ${name} is ${state ?? 'not reported yet'}${message ? `: ${message}` : ''}${advice}`
  }
  const asked = spec.format?.requestId
  if (asked !== undefined && asked !== requestId && asked !== refused?.requestId) {
    return `drive ${name} is to be formatted`
  }
  if ((pool.metadataUsed ?? 0) > metadataLimit) {
    return `the metadata space of drive ${name} is ${percent(pool.metadataUsed!)} used, nothing new begins above ${percent(metadataLimit)}`
  }
  if (pool.used > pool.capacity * usedLimit) {
    return `drive ${name} is ${percent(pool.used / pool.capacity)} full, nothing new begins above ${percent(usedLimit)}`
  }
  return undefined
}

function nodeProblem({ nodeNames, selector }: PlacementRequest, { metadata, status }: Node): string | undefined {
  if (nodeNames && !nodeNames.includes(metadata.name)) return `not among the nodes asked for (${nodeNames.join(', ')})`
  const missing = Object.entries(selector ?? {}).find(([key, value]) => metadata.labels?.[key] !== value)
  if (missing) return `it does not have the label ${missing.join('=')}`
  return status?.ready?.state ? undefined : 'the node is not Ready'
}

function judge(
  { askOf }: PlacementRequest,
  { drive, promised }: Candidate,
): { left: number } | { reason: string; shortfalls?: Shortfall[] } {
  const { name } = drive.metadata
  const problem = driveProblem(drive)
  if (problem !== undefined) return { reason: problem }
  const [ask, total] = [askOf(drive), driveTotals(drive)]
  const result = fit(ask, { total, promised })
  if (result.fits) return { left: leastShareLeft(ask, promised, total) }
  const { shortfalls } = result
  return { reason: shortfalls.map((each) => describeShortfall(each, `drive ${name}`)).join('; '), shortfalls }
}

/** Share left of the scarcest resource once `ask` is placed, 0 to 1. */
function leastShareLeft(ask: Amounts, promised: Amounts, total: Amounts): number {
  let least = 1
  for (const resource of resources) {
    if (total[resource] <= 0) continue
    least = Math.min(least, (total[resource] - promised[resource] - ask[resource]) / total[resource])
  }
  return least
}

/** Drives of the first preferred node that has one; all when none has. */
function onBestNode({ preferredNodes = [] }: PlacementRequest, fitting: Fitting[]): Fitting[] {
  const node = preferredNodes.find((name) => fitting.some(({ nodeName }) => nodeName === name))
  return node === undefined ? fitting : fitting.filter(({ nodeName }) => nodeName === node)
}

function roomier<T extends { left: number }>(best: T | undefined, each: T): T {
  return best && best.left >= each.left ? best : each
}

function nothingFits({ who }: PlacementRequest, reasons: string[], shortfalls: Shortfall[]): Exhausted {
  const text = reasons.length === 0 ? 'there is no node' : reasons.join('; ')
  return new Exhausted(`${who} fits nowhere: ${text}`, {
    remedy: remedyFor(shortfalls) || 'See `dctl drive list` and `dctl node list` for what there is.',
    details: { reasons },
  })
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

function byName(one: { metadata: { name: string } }, other: { metadata: { name: string } }): number {
  return one.metadata.name < other.metadata.name ? -1 : 1
}
