import { enforcedShares, type PlaneReserve } from '../../guarantee/index.ts'
import type { UplinkLimits } from '../engine.ts'
import type { Rates } from './shaping.ts'

/** Rates in bits per second that the tree of classes keeps now. */
export interface LinkPlan {
  linkRate: number
  /** Of untagged planes: they share the class of the node's own traffic. */
  host: number
  /** Of planes with a tag, a class each. */
  planes: Required<PlaneReserve>[]
  /** Share from 0 to 1 of every floor. */
  floors: number
}

/** Of a link whose rate nobody has told yet: so much that the tree holds nobody back. */
const unknownLinkRate = 100e9

/** Divides the link among planes and floors; a pure function. A rate of 0 says that nobody knows. */
export function planLink({ linkRate: known, reserves }: UplinkLimits, endpoints: Iterable<Rates>): LinkPlan {
  const linkRate = known || unknownLinkRate
  const promised = [...endpoints].reduce((sum, { bandwidthFloor }) => sum + bandwidthFloor, 0)
  const shares = enforcedShares(promised, linkRate, reserves)
  const kept = reserves.map((reserve) => ({ ...reserve, rate: Math.floor(reserve.rate * shares.reserves) }))
  return {
    linkRate,
    host: kept.filter(({ vlan }) => vlan === undefined).reduce((sum, { rate }) => sum + rate, 0),
    planes: kept.filter((reserve): reserve is Required<PlaneReserve> => reserve.vlan !== undefined),
    floors: shares.floors,
  }
}

/** The rates that are enforced for an endpoint: its floor may be more than the link has for it now. */
export function enforcedRates(rates: Rates, plan: Pick<LinkPlan, 'floors'>): Rates {
  return { ...rates, bandwidthFloor: Math.floor(rates.bandwidthFloor * plan.floors) }
}
