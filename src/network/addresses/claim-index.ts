import type { AddressClaim, MacClaim } from '../../api/index.ts'
import { KeyedLists } from '../../base/index.ts'

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
  // There are as many owners as endpoints in the cluster: keys are the claims' own texts.
  readonly #byOwner = new KeyedLists<T>()
  readonly #byOwnerName = new KeyedLists<T>()
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
    return this.#byOwner.of(uid)
  }

  /** uids of all endpoints of this name that own a claim: one that lives, others that are gone. */
  ownersNamed({ namespace, name }: { namespace?: string; name: string }): string[] {
    const owners = this.#byOwnerName.of(name).map(({ spec }) => spec.endpoint)
    return [...new Set(owners.filter((owner) => owner.namespace === namespace).map(({ uid }) => uid))]
  }

  /** Adds a claim; false when it is known or gone, or another claim holds the name. */
  put(claim: T): boolean {
    const { name, uid } = claim.metadata
    if (this.#gone.has(uid!) || this.#goneBefore.has(uid!)) return false
    const known = this.#byName.get(name)
    if (known) return false
    this.#byName.set(name, claim)
    const { endpoint } = claim.spec
    this.#byOwner.add(endpoint.uid, claim)
    this.#byOwnerName.add(endpoint.name, claim)
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
    this.#byOwner.remove(endpoint.uid, known)
    this.#byOwnerName.remove(endpoint.name, known)
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
