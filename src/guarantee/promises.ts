import type { Node } from '../api/index.ts'
import { formatRate, type Amounts } from './capacity.ts'

/** Whether the floors that were promised on a node can all be kept; `share` from 0 to 1 is what of each one is. */
export type PromisesVerdict = { state: boolean; reason: 'AllFit' | 'LinkTooSlow' | 'UplinkDown'; message: string } & {
  share: number
}

/**
 * Compares what was promised on a node with what its uplink gives now. A pure function; the agent enforces the same
 * shares (`enforcedShares`).
 */
export function judgePromises(node: Node, promised: Amounts, total: Amounts): PromisesVerdict {
  const { interface: device } = node.spec.uplinks.pods
  const sum = formatRate(promised.bandwidth)
  if (promised.bandwidth <= total.bandwidth) {
    const message = `The uplink ${device} carries all floors: ${sum} of ${formatRate(total.bandwidth)}.`
    return { state: true, reason: 'AllFit', message, share: 1 }
  }
  if (node.status?.agent?.carrier === false) {
    const message = `The uplink ${device} has no carrier; ${sum} of floors were promised on it and none is kept.`
    return { state: false, reason: 'UplinkDown', message, share: 0 }
  }
  const share = total.bandwidth / promised.bandwidth
  const message =
    `${sum} of floors were promised and the uplink ${device} now has ${formatRate(total.bandwidth)} for them: ` +
    `${formatShare(share)} of each floor is kept.`
  return { state: false, reason: 'LinkTooSlow', message, share }
}

/** Writes a share for people, rounded down: 100 % means all of it. */
function formatShare(share: number): string {
  return `${Math.floor(share * 100)} %`
}
