import { apiVersionOf, Endpoint } from '../api/index.ts'
import { regularly, type Logger, type Regular } from '../base/index.ts'
import type { EventRecorder } from '../store/index.ts'
import type { ForeignUse, NetworkEngine } from './engine.ts'

/** Times in milliseconds. RFC 5227 section 1.1 for how often and how far apart the probes after an attach are. */
const times = { tick: 1_000, betweenProbes: 5_000, betweenEvents: 60_000 } as const
/** Until a host that is silent is taken to have gone. Who has an address is asked meanwhile, who has a MAC cannot be. */
const untilGone = { address: 15_000, mac: 60_000 } as const
/**
 * A MAC must be heard over so long a time: last frames of a static endpoint that has just moved here from another node are
 * nobody else's. What was heard once is remembered for `memory`.
 */
const confirmation = { span: 1_000, memory: 300_000 } as const
const probesAfterAttach = 3
/** Endpoints that are probed in one tick: an agent that starts with many must not send a burst for all of them. */
const probedAtOnce = 50

/** An endpoint of the node as the watch needs it. */
export interface WatchedEndpoint {
  endpointId: string
  namespace: string
  name: string
}

/** An address, or the MAC, that somebody else on its L2 network uses too. */
export interface DuplicateAddress extends WatchedEndpoint {
  address: string
  /** MAC of the other host that was heard last; the same as `address` when that is what it uses. */
  macAddress: string
}

/** What the watch works with. */
export interface DuplicateWatchOptions {
  engine: Pick<NetworkEngine, 'probeAddresses' | 'foreignUses'>
  attached: () => WatchedEndpoint[]
  events: Pick<EventRecorder, 'record'>
  logger: Logger
  /** Milliseconds of a clock that never jumps. */
  now?: () => number
}

/**
 * Finds addresses and MACs of this node's endpoints that a host outside of Carbonado's care uses too. Whatever such a host says
 * about itself is heard by the datapath at any time; after an attach, and while a duplicate lasts, it is also asked. None
 * of this is in the way of an attach.
 */
export class DuplicateWatch {
  readonly #options: Required<DuplicateWatchOptions>
  readonly #probesLeft = new Map<string, number>()
  /** When a MAC was first heard from another host, by the key of its use. */
  readonly #firstHeard = new Map<string, number>()
  readonly #lasting = new Map<string, { duplicate: DuplicateAddress; told: number; probed: number }>()
  #ticking: Regular | undefined

  constructor(options: DuplicateWatchOptions) {
    this.#options = { now: () => performance.now(), ...options }
  }

  /** Addresses that others use now. */
  duplicates(): DuplicateAddress[] {
    return [...this.#lasting.values()].map(({ duplicate }) => duplicate)
  }

  start(): void {
    const tell = (err: unknown): void => this.#options.logger.error({ err }, 'looking for duplicate addresses failed')
    this.#ticking = regularly(() => this.tick(), times.tick, tell)
  }

  stop(): void {
    void this.#ticking?.stop()
  }

  /** Looks once at what was heard, and asks where it is time to. */
  tick(): void {
    const attached = new Map(this.#options.attached().map((endpoint) => [endpoint.endpointId, endpoint]))
    this.#compare(attached)
    this.#probe(attached)
  }

  #compare(attached: Map<string, WatchedEndpoint>): void {
    const { engine, now } = this.#options
    const heard = latestUses(engine.foreignUses().filter((use) => this.#counts(use)))
    for (const [key, use] of heard) {
      const endpoint = attached.get(use.endpointId)
      if (!endpoint) continue
      const { endpointId, namespace, name } = endpoint
      const duplicate = { endpointId, namespace, name, address: use.address, macAddress: use.macAddress }
      const known = this.#lasting.get(key)
      const isDue = !known || now() - known.told >= times.betweenEvents
      if (isDue) this.#tell(duplicate, true)
      this.#lasting.set(key, { duplicate, told: isDue ? now() : known.told, probed: known?.probed ?? now() })
    }
    for (const key of this.#firstHeard.keys()) if (!attached.has(key.split(' ')[0]!)) this.#firstHeard.delete(key)
    for (const [key, { duplicate }] of this.#lasting) {
      if (heard.has(key) && attached.has(duplicate.endpointId)) continue
      this.#lasting.delete(key)
      if (attached.has(duplicate.endpointId)) this.#tell(duplicate, false)
    }
  }

  /** Whether a use is recent, and not the last frames of somebody who has just gone. */
  #counts(use: ForeignUse): boolean {
    if (!isMac(use)) return use.sinceHeard < untilGone.address
    const [key, now] = [keyOf(use), this.#options.now()]
    if (use.sinceHeard > confirmation.memory) {
      this.#firstHeard.delete(key)
      return false
    }
    const heard = now - use.sinceHeard
    const first = Math.min(this.#firstHeard.get(key) ?? heard, heard)
    this.#firstHeard.set(key, first)
    return heard - first >= confirmation.span && use.sinceHeard < untilGone.mac
  }

  #probe(attached: Map<string, WatchedEndpoint>): void {
    const { engine, now } = this.#options
    for (const id of this.#probesLeft.keys()) if (!attached.has(id)) this.#probesLeft.delete(id)
    for (const id of attached.keys()) if (!this.#probesLeft.has(id)) this.#probesLeft.set(id, probesAfterAttach)
    const due = [...this.#probesLeft].filter(([, left]) => left > 0).slice(0, probedAtOnce)
    for (const [id, left] of due) {
      this.#probesLeft.set(id, left - 1)
      engine.probeAddresses(id)
    }
    for (const entry of this.#lasting.values()) {
      if (isMac(entry.duplicate)) continue
      if (now() - entry.probed < times.betweenProbes) continue
      entry.probed = now()
      engine.probeAddresses(entry.duplicate.endpointId)
    }
  }

  #tell(duplicate: DuplicateAddress, isThere: boolean): void {
    const { endpointId, namespace, name } = duplicate
    const { reason, what, remedy } = wordsFor(duplicate)
    this.#options.events.record({
      regarding: { apiVersion: apiVersionOf(Endpoint), kind: Endpoint.kind, namespace, name, uid: endpointId },
      type: isThere ? 'Warning' : 'Normal',
      reason: isThere ? reason : `${reason}Gone`,
      action: 'DetectDuplicates',
      note: isThere ? `${what}. ${remedy}` : `${duplicate.address} was not heard from ${otherHost(duplicate)} any more`,
    })
  }
}

/** The duplicate as `dctl node check` shows it. */
export function describeDuplicate(duplicate: DuplicateAddress): { reason: string; message: string; remedy: string } {
  const { namespace, name, address } = duplicate
  const { reason, remedy } = wordsFor(duplicate)
  const what = isMac(duplicate) ? 'MAC' : 'address'
  const message = `${what} ${address} of endpoint ${namespace}/${name} is also used by ${otherHost(duplicate)}`
  return { reason, message, remedy }
}

function wordsFor(duplicate: DuplicateAddress): { reason: string; what: string; remedy: string } {
  const { address } = duplicate
  const what = `${address} is also used by ${otherHost(duplicate)}`
  if (!isMac(duplicate)) {
    const remedy = `Give that host another address, or keep ${address} out of the ranges of the network.`
    return { reason: 'DuplicateAddress', what, remedy }
  }
  const remedy =
    'Find its switch port in the tables of your switches and give it another MAC; or end the loop, if frames of this node come back to it.'
  return { reason: 'DuplicateMac', what, remedy }
}

function isMac({ address, macAddress }: Pick<ForeignUse, 'address' | 'macAddress'>): boolean {
  return address === macAddress
}

function otherHost(duplicate: DuplicateAddress): string {
  return isMac(duplicate) ? 'another host on its VLAN' : `a host with MAC ${duplicate.macAddress}`
}

function keyOf({ endpointId, address }: ForeignUse): string {
  return `${endpointId} ${address}`
}

/** The last heard use of each address of each endpoint. */
function latestUses(uses: ForeignUse[]): Map<string, ForeignUse> {
  const latest = new Map<string, ForeignUse>()
  for (const use of uses) {
    const key = keyOf(use)
    if (use.sinceHeard < (latest.get(key)?.sinceHeard ?? Infinity)) latest.set(key, use)
  }
  return latest
}
