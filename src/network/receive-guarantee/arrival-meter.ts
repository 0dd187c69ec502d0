import type { MeasuredFlow } from '../../guarantee/index.ts'
import type { Arrival } from '../receive-control.ts'

/** What arrived from a node for a receiver, as rates of wire bits and of bits of frames per second. */
export interface ArrivalFlow extends MeasuredFlow {
  frameRate: number
}

/** Everything that arrived between two readings. Rates in wire bits per second. */
export interface ArrivalRates {
  seconds: number
  flows: ArrivalFlow[]
  /** For no endpoint, or for many. */
  other: number
  /** Of that what is for the node itself or for all, by VLAN; 0 is untagged. */
  ofNode: Map<number, number>
  /** From outside the cluster, or nobody knows from where; part of `flows`. */
  outside: number
}

/** Milliseconds after which a source that is silent is no longer worth reading every time. */
const patience = 60_000

/** A source in the last reading, and when more came of it; undefined: it was named as silent. */
interface KnownSource {
  arrival: Arrival
  heardAt: number | undefined
}

/** Makes rates out of readings of what arrived. */
export class ArrivalMeter {
  #before: { at: number; sources: Map<string, KnownSource> } | undefined

  /** Forgets the last reading: the next one begins anew. */
  reset(): void {
    this.#before = undefined
  }

  /** Of the last reading, what has not changed for a minute; it is not asked for again. */
  takeSilent(now: number): Arrival[] {
    const sources = this.#before?.sources.values().toArray() ?? []
    const silent = sources.filter(({ heardAt = now }) => now - heardAt > patience)
    for (const source of silent) source.heardAt = undefined
    return silent.map(({ arrival }) => arrival)
  }

  /** Rates since the last reading, `now` in milliseconds; undefined for the first. `nodeOf` tells where a source is. */
  measure(
    now: number,
    arrivals: Arrival[],
    nodeOf: (source: Pick<Arrival, 'sourceMac' | 'vlan'>) => string | undefined,
  ): ArrivalRates | undefined {
    const before = this.#before
    this.#before = { at: now, sources: new Map(arrivals.map((each) => [keyOf(each), this.#known(each, now)])) }
    if (!before || now <= before.at) return undefined
    const seconds = (now - before.at) / 1000
    const flows = new Map<string, ArrivalFlow>()
    const ofNode = new Map<number, number>()
    let other = 0
    for (const arrival of arrivals) {
      const earlier = before.sources.get(keyOf(arrival))?.arrival
      const rate = ((arrival.wireBytes - (earlier?.wireBytes ?? 0)) * 8) / seconds
      if (rate <= 0) continue
      if (arrival.slot === 0) ofNode.set(arrival.vlan, (ofNode.get(arrival.vlan) ?? 0) + rate)
      if (arrival.endpointId === undefined) other += rate
      else
        addTo(flows, arrival.endpointId, nodeOf(arrival), rate, ((arrival.bytes - (earlier?.bytes ?? 0)) * 8) / seconds)
    }
    const outside = [...flows.values()].reduce((sum, { node, rate }) => (node === undefined ? sum + rate : sum), 0)
    return { seconds, flows: [...flows.values()], other, ofNode, outside }
  }

  #known(arrival: Arrival, now: number): KnownSource {
    const earlier = this.#before?.sources.get(keyOf(arrival))
    const isSilent = earlier?.arrival.wireBytes === arrival.wireBytes
    return { arrival, heardAt: isSilent ? (earlier.heardAt ?? now) : now }
  }
}

/** By slot: several that are free now have counts of earlier endpoints. */
function keyOf({ sourceMac, vlan, slot }: Arrival): string {
  return `${sourceMac} ${vlan} ${slot}`
}

function addTo(
  flows: Map<string, ArrivalFlow>,
  receiver: string,
  node: string | undefined,
  rate: number,
  frameRate: number,
): void {
  const key = `${receiver} ${node ?? ''}`
  const flow = flows.get(key) ?? { receiver, node, rate: 0, frameRate: 0, wasHeldBack: false }
  flows.set(key, { ...flow, rate: flow.rate + rate, frameRate: flow.frameRate + frameRate })
}
