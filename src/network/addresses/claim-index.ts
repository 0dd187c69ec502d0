import type { AddressClaim, MacClaim } from '../../api/index.ts'

type Claim = AddressClaim | MacClaim

/** How many claims that are gone are remembered, at least. */
const rememberedGone = 5_000

/** `namespace/name` of an endpoint. */
export function endpointKey({ namespace, name }: { namespace?: string; name: string }): string {
  return [namespace ?? '', name].join('/') // in one piece, unlike the text of a template, and many are kept
}

/**
 * The claims of one kind in memory, by name, by owner and by the owner's name. Fed both by the informer and, at once,
 * by whoever creates or deletes a claim; the informer's later word about the same claim changes nothing.
 */
export class ClaimIndex<T extends Claim> {
  readonly #byName = new Map<string, T>()
  // Lists and not maps: most have one entry, and there are as many of them as endpoints in the cluster.
  readonly #byOwner = new Map<string, T[]>()
  readonly #owners = new Map<string, string[]>()
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
    return [...(this.#byOwner.get(uid) ?? [])]
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
    addTo(this.#byOwner, endpoint.uid, claim)
    const key = endpointKey(endpoint)
    if (!this.#owners.get(key)?.includes(endpoint.uid)) addTo(this.#owners, key, endpoint.uid)
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
    removeFrom(this.#byOwner, endpoint.uid, known)
    if (!this.#byOwner.has(endpoint.uid)) removeFrom(this.#owners, endpointKey(endpoint), endpoint.uid)
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

function addTo<V>(lists: Map<string, V[]>, key: string, value: V): void {
  const known = lists.get(key)
  if (known) known.push(value)
  else lists.set(key, [value])
}

function removeFrom<V>(lists: Map<string, V[]>, key: string, value: V): void {
  const left = (lists.get(key) ?? []).filter((other) => other !== value)
  if (left.length > 0) lists.set(key, left)
  else lists.delete(key)
}
