import { Endpoint, MacClaim, Node } from '../../api/index.ts'
import { isNotFound, type ResourceStore } from '../../store/index.ts'
import { macClaimName } from '../addresses/index.ts'

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
 * node. What was found stays when control goes away.
 */
export class SenderDirectory {
  readonly #store: Pick<ResourceStore, 'get'>
  readonly #now: () => number
  readonly #places = new Map<string, Remembered>()
  readonly #addresses = new Map<string, { address: string; until: number }>()
  readonly #waiting = new Set<string>()
  #running = 0

  /** `now`: milliseconds of a clock that never jumps. */
  constructor(store: Pick<ResourceStore, 'get'>, now: () => number = () => performance.now()) {
    this.#store = store
    this.#now = now
  }

  /** Where a source is, as far as it is known; asks in the background when it is not, or no longer. Never waits. */
  placeOf(macAddress: string, vlan: number): SourcePlace {
    const key = `pods-${vlan} ${macAddress}`
    const known = this.#places.get(key)
    if (!known || known.until < this.#now()) this.#lookUpLater(key)
    return known?.place ?? 'unknown'
  }

  /** host:port of a node's agent. Throws Unavailable or NotFound. */
  async addressOf(node: string): Promise<string | undefined> {
    const known = this.#addresses.get(node)
    if (known && known.until > this.#now()) return known.address
    const address = (await this.#store.get(Node, { name: node })).status?.agent?.address
    if (!address || !/^(\[[0-9a-fA-F:.]+\]|[-A-Za-z0-9.]+):\d{1,5}$/.test(address)) return undefined
    this.#addresses.set(node, { address, until: this.#now() + freshness.node })
    return address
  }

  /** The address was wrong or nobody answered there: asks again the next time. */
  forgetAddress(node: string): void {
    this.#addresses.delete(node)
  }

  #lookUpLater(key: string): void {
    if (this.#waiting.has(key) || this.#waiting.size >= mostRemembered) return
    this.#waiting.add(key)
    if (this.#running < mostLookups) void this.#work()
  }

  async #work(): Promise<void> {
    this.#running++
    for (const key of this.#waiting) {
      const { place, lifetime } = await this.#lookUp(key)
      this.#remember(key, { place, until: this.#now() + lifetime })
      this.#waiting.delete(key)
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
      if (isNotFound(error)) {
        return { place: 'outside', lifetime: freshness.outside }
      }
      return { place: this.#places.get(key)?.place ?? 'unknown', lifetime: freshness.failed }
    }
  }

  #remember(key: string, value: Remembered): void {
    this.#places.delete(key)
    this.#places.set(key, value)
    if (this.#places.size > mostRemembered) this.#places.delete(this.#places.keys().next().value!)
  }
}
