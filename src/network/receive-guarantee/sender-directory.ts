import { Endpoint, MacClaim, Node } from '../../api/index.ts'
import { isNotFound, type ResourceStore } from '../../store/index.ts'
import { macClaimName } from '../addresses/index.ts'
import type { KnownSenders, SenderMemory } from './sender-memory.ts'

/** Where a source is: a node of the cluster, outside of it, or not known yet. */
export type SourcePlace = { node: string } | 'outside' | 'unknown'

/** Milliseconds after which an answer is asked for again; meanwhile the old one serves. */
const freshness = { node: 30_000, outside: 10_000, failed: 1_000 } as const
const mostLookups = 8
const mostRemembered = 20_000

interface Remembered {
  place: SourcePlace
  until: number
}

/**
 * Finds out which node sends with a MAC, by asking control: the claim of a MAC names its endpoint, the endpoint its
 * node. What was found stays when control goes away, and with a memory when this agent is started again.
 */
export class SenderDirectory {
  readonly #store: Pick<ResourceStore, 'get'>
  readonly #now: () => number
  readonly #places = new Map<string, Remembered>()
  readonly #addresses = new Map<string, { address: string; until: number }>()
  readonly #waiting = new Set<string>()
  /** Those that are being looked up. */
  readonly #looking = new Set<string>()
  readonly #asking = new Map<string, Promise<string | undefined>>()
  readonly #memory: SenderMemory | undefined
  #running = 0

  /** `now`: milliseconds of a clock that never jumps. */
  constructor(store: Pick<ResourceStore, 'get'>, now: () => number = () => performance.now(), memory?: SenderMemory) {
    this.#store = store
    this.#now = now
    this.#memory = memory
    const { places, addresses } = memory?.recall() ?? { places: {}, addresses: {} }
    for (const [key, node] of Object.entries(places)) this.#places.set(key, { place: { node }, until: -Infinity })
    for (const [node, address] of Object.entries(addresses)) this.#addresses.set(node, { address, until: -Infinity })
  }

  /** Where a source is, as far as it is known; asks in the background when it is not, or no longer. Never waits. */
  placeOf(macAddress: string, vlan: number): SourcePlace {
    const key = `pods-${vlan} ${macAddress}`
    const known = this.#places.get(key)
    if (!known || known.until < this.#now()) this.#lookUpLater(key)
    return known?.place ?? 'unknown'
  }

  /**
   * host:port of a node's agent; undefined when it has not told. One that may be old serves until control has answered.
   * Throws Unavailable or NotFound.
   */
  async addressOf(node: string): Promise<string | undefined> {
    const known = this.#addresses.get(node)
    if (known && known.until > this.#now()) return known.address
    const asked = this.#askAddress(node)
    if (!known) return asked
    asked.catch(() => {}) // the old one serves
    return known.address
  }

  /** Nobody answered at the address, or somebody else: control is asked again the next time. */
  doubtAddress(node: string): void {
    const known = this.#addresses.get(node)
    if (known) known.until = -Infinity
  }

  #askAddress(node: string): Promise<string | undefined> {
    const asked = this.#asking.get(node) ?? this.#fetchAddress(node).finally(() => this.#asking.delete(node))
    this.#asking.set(node, asked)
    return asked
  }

  async #fetchAddress(node: string): Promise<string | undefined> {
    const before = this.#addresses.get(node)?.address
    const address = await this.#store.get(Node, { name: node }).then(
      ({ status }) => status?.agent?.address,
      (error: unknown) => {
        if (isNotFound(error)) this.#addresses.delete(node)
        throw error
      },
    )
    if (!address || !/^(\[[0-9a-fA-F:.]+\]|[-A-Za-z0-9.]+):\d{1,5}$/.test(address)) return undefined
    this.#addresses.set(node, { address, until: this.#now() + freshness.node })
    if (address !== before) this.#keepSoon()
    return address
  }

  #lookUpLater(key: string): void {
    if (this.#waiting.has(key) || this.#looking.has(key) || this.#waiting.size >= mostRemembered) return
    this.#waiting.add(key)
    if (this.#running < mostLookups) void this.#work()
  }

  async #work(): Promise<void> {
    this.#running++
    // taken out at once, so that each goes to one worker; a Set's iterator goes on behind what others took
    for (const key of this.#waiting) {
      this.#waiting.delete(key)
      this.#looking.add(key)
      const { place, lifetime } = await this.#lookUp(key)
      this.#remember(key, { place, until: this.#now() + lifetime })
      this.#looking.delete(key)
    }
    this.#running--
  }

  async #lookUp(key: string): Promise<{ place: SourcePlace; lifetime: number }> {
    const [l2Domain, macAddress] = key.split(' ') as [string, string]
    try {
      const { spec } = await this.#store.get(MacClaim, { name: macClaimName(l2Domain, macAddress) })
      const endpoint = await this.#store.get(Endpoint, spec.endpoint)
      const node = endpoint.spec.nodeName
      return node ? { place: { node }, lifetime: freshness.node } : { place: 'outside', lifetime: freshness.failed }
    } catch (error) {
      if (isNotFound(error)) return { place: 'outside', lifetime: freshness.outside }
      return { place: this.#places.get(key)?.place ?? 'unknown', lifetime: freshness.failed }
    }
  }

  #remember(key: string, value: Remembered): void {
    const before = this.#places.get(key)?.place
    this.#places.delete(key)
    this.#places.set(key, value)
    if (this.#places.size > mostRemembered) this.#places.delete(this.#places.keys().next().value!)
    if (nodeOf(value.place) !== nodeOf(before)) this.#keepSoon()
  }

  #keepSoon(): void {
    this.#memory?.keepSoon(() => this.#known)
  }

  get #known(): KnownSenders {
    const places = [...this.#places].flatMap(([key, { place }]) =>
      typeof place === 'object' ? [[key, place.node]] : [],
    )
    const addresses = [...this.#addresses].map(([node, { address }]) => [node, address])
    return { places: Object.fromEntries(places), addresses: Object.fromEntries(addresses) } as KnownSenders
  }
}

function nodeOf(place: SourcePlace | undefined): string | undefined {
  return typeof place === 'object' ? place.node : undefined
}
