import type { AddressClaim, MacClaim } from '../../api/index.ts'

type Claim = AddressClaim | MacClaim

/** How many claims that are gone are remembered, at least. */
const rememberedGone = 5_000

/** `namespace/name` of an endpoint. */
export function endpointKey({ namespace, name }: { namespace?: string; name: string }): string {
  return `${namespace ?? ''}/${name}`
}

/**
 * The claims of one kind in memory, by name, by owner and by the owner's name. Fed both by the informer and, at once,
 * by whoever creates or deletes a claim; the informer's later word about the same claim changes nothing.
 */
export class ClaimIndex<T extends Claim> {
  readonly #byName = new Map<string, T>()
  readonly #byOwner = new Map<string, Map<string, T>>()
  readonly #owners = new Map<string, Set<string>>()
  /** uids of claims that are gone, in two generations: an ADDED that comes late must not bring one back. */
  #gone = new Set<string>()
  #goneBefore = new Set<string>()

  get(name: string): T | undefined {
    return this.#byName.get(name)
  }

  /** All claims. */
  values(): Iterable<T> {
    return this.#byName.values()
  }

  /** The claims that name this endpoint uid as their owner. */
  of(uid: string): T[] {
    return [...(this.#byOwner.get(uid)?.values() ?? [])]
  }

  /** uids of all endpoints of this key (`namespace/name`) that own a claim: one that lives, others that are gone. */
  ownersNamed(key: string): string[] {
    return [...(this.#owners.get(key) ?? [])]
  }

  /** Adds a claim; false when it is known or gone, or another claim holds the name. */
  put(claim: T): boolean {
    const { name, uid } = claim.metadata
    if (this.#gone.has(uid!) || this.#goneBefore.has(uid!)) return false
    const known = this.#byName.get(name)
    if (known) return false
    this.#byName.set(name, claim)
    const { endpoint } = claim.spec
    setIn(this.#byOwner, endpoint.uid, new Map<string, T>()).set(name, claim)
    setIn(this.#owners, endpointKey(endpoint), new Set<string>()).add(endpoint.uid)
    return true
  }

  /** Removes a claim; false when it was not there or its name belongs to another claim by now. */
  drop(claim: T): boolean {
    const { name, uid } = claim.metadata
    this.#remember(uid!)
    const known = this.#byName.get(name)
    if (!known || known.metadata.uid !== uid) return false
    this.#byName.delete(name)
    const { endpoint } = known.spec
    const own = this.#byOwner.get(endpoint.uid)
    own?.delete(name)
    if (own?.size === 0) {
      this.#byOwner.delete(endpoint.uid)
      const key = endpointKey(endpoint)
      const owners = this.#owners.get(key)
      owners?.delete(endpoint.uid)
      if (owners?.size === 0) this.#owners.delete(key)
    }
    return true
  }

  #remember(uid: string): void {
    if (this.#gone.size >= rememberedGone) {
      this.#goneBefore = this.#gone
      this.#gone = new Set()
    }
    this.#gone.add(uid)
  }
}

function setIn<K, V>(map: Map<K, V>, key: K, initial: V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  map.set(key, initial)
  return initial
}
