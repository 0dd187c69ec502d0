import {
  Endpoint,
  isDecidedAbout,
  l2DomainOf,
  type AddressClaim,
  type Allocation,
  type MacClaim,
  type Network,
  type Node,
} from '../../api/index.ts'
import {
  CarbonadoError,
  Conflict,
  InvalidInput,
  NotFound,
  Unavailable,
  type ReconcileResult,
} from '../../base/index.ts'
import { doesNotFit, linkRateOf, nodeTotals, type CapacityLedger } from '../../guarantee/index.ts'
import { findObject, isStale, type ResourceStore } from '../../store/index.ts'
import { tierNameOf } from '../admission/network-users.ts'
import type { ClaimBook, ClaimOwner } from '../addresses/claim-book.ts'
import { endpointKey } from '../addresses/claim-index.ts'
import { parseAddress, type Family } from '../addresses/ip-address.ts'
import { subnetSpaces } from '../addresses/subnet-space.ts'
import {
  allocationOf,
  amountsOf,
  claimsIn,
  decisionPatch,
  hasRates,
  refusalOf,
  surplusOf,
  tierRates,
  type Decision,
  type TierRates,
} from './allocation.ts'
import type { EndpointEvents } from './endpoint-events.ts'
import { Lookup, referenceOf, type NetworkView } from './network-view.ts'

/** What the endpoint controller works with. */
export interface EndpointControllerParts {
  store: ResourceStore
  view: NetworkView
  book: ClaimBook
  ledger: CapacityLedger
  events: EndpointEvents
}

/** Either everything an allocation is made from, or why there is none. */
type Inputs = { network: Network; rates: TierRates } | { refused: CarbonadoError }
type Claims = { addresses: AddressClaim[]; mac: MacClaim }

/** Milliseconds until a decision is tried again whose object was changed meanwhile; its change usually comes first. */
const staleRetry = 20

/**
 * Gives endpoints what they need (addresses, MAC, rates) and takes it back. One call per endpoint at a time.
 *
 * **Why nothing in use is ever freed.** A claim names its owner's uid, uids are never used twice, and a claim is made
 * only for an endpoint that exists at that moment. So once a read of the store *after* seeing the claim finds no
 * endpoint of that uid under the owner's name, the owner is gone for good; the claim can go. An attached endpoint is
 * not gone: its agent holds a finalizer from before the first datapath entry until after the last. Of an endpoint that
 * exists only claims are given back that its allocation, which is what is attached, does not name.
 *
 * **Why nothing is leaked or doubled by a crash.** Every step is found again from the store: claims by their owner's
 * uid are reused before new ones are made, those an allocation does not name are given back when the endpoint is next
 * looked at, and a claim without a living owner leads to a look at that owner's name.
 */
export class EndpointController {
  readonly #parts: EndpointControllerParts
  readonly #lookup: Lookup

  constructor(parts: EndpointControllerParts) {
    this.#parts = parts
    this.#lookup = new Lookup(parts.store, parts.view)
  }

  /** Brings claims and decision of the endpoint `namespace/name` in line with its object. */
  async reconcile(key: string): Promise<ReconcileResult> {
    const endpoint = this.#parts.view.endpoints.get(referenceOf(key))
    await this.#collectGarbage(key, endpoint?.metadata.uid)
    if (!endpoint || endpoint.metadata.deletionTimestamp) return { done: true }
    try {
      await this.#bringUpToDate(endpoint)
      return { done: true }
    } catch (error) {
      if (isStale(error)) return { requeueAfter: staleRetry }
      throw error
    }
  }

  /** Gives back the claims that bear this endpoint's name but belong to one that is gone. */
  async #collectGarbage(key: string, livingUid: string | undefined): Promise<void> {
    const { book, store } = this.#parts
    const name = referenceOf(key)
    const owners = new Set([...book.addresses.ownersNamed(name), ...book.macs.ownersNamed(name)])
    for (const uid of owners) {
      if (uid === livingUid) continue
      const found = await findObject(store, Endpoint, referenceOf(key))
      if (found?.metadata.uid !== uid) await book.release(book.addresses.of(uid), book.macs.of(uid))
    }
  }

  async #bringUpToDate(endpoint: Endpoint): Promise<void> {
    const { allocation } = endpoint.status ?? {}
    if (!isDecidedAbout(endpoint)) return this.#decide(endpoint)
    if (allocation?.state === 'Allocated') await this.#reshape(endpoint, allocation)
    const { addresses, macs } = surplusOf(endpoint, this.#claimsOf(endpoint))
    await this.#parts.book.release(addresses, macs)
  }

  async #decide(endpoint: Endpoint): Promise<void> {
    const inputs = await this.#inputsOf(endpoint)
    if ('refused' in inputs) return this.#refuse(endpoint, inputs.refused)
    const { network } = inputs
    const promised = await this.#promise(endpoint, inputs.rates)
    if ('refused' in promised) return this.#refuse(endpoint, promised.refused)
    const claims = await this.#claim(endpoint, network)
    if ('refused' in claims) return this.#refuse(endpoint, claims.refused, network)
    await this.#write(endpoint, allocationOf(endpoint, network, claims, promised.rates))
  }

  async #inputsOf(endpoint: Endpoint): Promise<Inputs> {
    const { networkName } = endpoint.spec
    const network = await this.#lookup.network(networkName)
    if (!network) return { refused: new NotFound(`network ${networkName} does not exist`, chooseNetwork) }
    if (network.metadata.deletionTimestamp && endpoint.status?.allocation === undefined) {
      return { refused: new Conflict(`network ${networkName} is being deleted`, chooseNetwork) }
    }
    if (network.spec.plane !== 'pods') {
      const problem = `network ${networkName} is of the ${network.spec.plane} plane, and containers attach to the pods plane`
      return { refused: new InvalidInput(problem, chooseNetwork) }
    }
    const tierName = tierNameOf(endpoint, network)
    const tier = tierName === undefined ? undefined : await this.#lookup.tier(tierName)
    if (tierName === undefined || tier) return { network, rates: tierRates(tier) }
    const refused = new NotFound(`perf-tier ${tierName} does not exist`, chooseTier)
    const rates = this.#keptRates(endpoint, refused)
    return rates ? { network, rates } : { refused }
  }

  /**
   * Promises the floor and an interface on the endpoint's node. What has its promise there already keeps its earlier
   * rates when it cannot have new ones; the promise of an endpoint that was unbound is given back.
   */
  async #promise(endpoint: Endpoint, rates: TierRates): Promise<{ rates: TierRates } | { refused: CarbonadoError }> {
    const { ledger, view } = this.#parts
    const uid = endpoint.metadata.uid!
    const { nodeName } = endpoint.spec
    const node = nodeName === undefined ? undefined : await this.#lookup.node(nodeName)
    // The endpoint may have gone while the node was looked up; nobody would give its promise back.
    const isThere = view.endpoints.get(endpoint.metadata)?.metadata.uid === uid
    if (nodeName === undefined || !isThere) {
      ledger.release(uid)
      return { rates }
    }
    const refused = node
      ? this.#promiseOn(node, endpoint, rates)
      : new NotFound(`node ${nodeName} does not exist`, chooseNode)
    if (!refused) return { rates }
    const kept = this.#keptRates(endpoint, refused)
    return kept ? { rates: kept } : { refused }
  }

  /** Promises rates on a node, or says why they cannot be had there; less than it has there an endpoint can always have. */
  #promiseOn(node: Node, endpoint: Endpoint, rates: TierRates): CarbonadoError | undefined {
    const { ledger } = this.#parts
    const { name } = node.metadata
    const uid = endpoint.metadata.uid!
    const hasFloor = rates.bandwidthFloor > 0
    const isNew = ledger.of(uid)?.nodeName !== name
    if (hasFloor && isNew && node.status?.agent?.carrier === false) return uplinkDown(node)
    const result = ledger.promise(uid, name, amountsOf(rates), nodeTotals(node))
    if (result.fits) return undefined
    if (hasFloor && linkRateOf(node) === undefined) return rateUnknown(name)
    return doesNotFit(`endpoint ${endpointKey(ownerOf(endpoint))}`, name, result.shortfalls)
  }

  /**
   * The rates of an endpoint that has its promise on its node already and cannot have others, which is told; undefined
   * for any other endpoint. Its agent shapes it with them still: given back, they would be promised to somebody else.
   */
  #keptRates(endpoint: Endpoint, refused: CarbonadoError): TierRates | undefined {
    const { ledger, events } = this.#parts
    const earlier = endpoint.status?.allocation
    const promised = ledger.of(endpoint.metadata.uid!)
    if (earlier?.state !== 'Allocated' || !promised || promised.nodeName !== endpoint.spec.nodeName) return undefined
    events.reshapeRefused(endpoint, refused)
    const { perfTierName, bandwidthFloor, bandwidthCap } = earlier
    return { perfTierName, bandwidthFloor, bandwidthCap }
  }

  async #claim(endpoint: Endpoint, network: Network): Promise<Claims | { refused: CarbonadoError }> {
    const { book } = this.#parts
    const owner = ownerOf(endpoint)
    const kept = this.#claimsOf(endpoint)
    const addresses: AddressClaim[] = []
    for (const { family } of subnetSpaces(network)) {
      const known = claimsIn(network, kept.addresses).find(({ spec }) => parseAddress(spec.address).family === family)
      const result = known
        ? { claimed: known }
        : await book.claimAddress(network, family, owner, requestedOf(endpoint, family))
      if ('refused' in result) return result
      addresses.push(result.claimed)
    }
    const [known] = claimsIn(network, kept.macs)
    const mac = known ? { claimed: known } : await book.claimMac(l2DomainOf(network), owner, endpoint.spec.macAddress)
    return 'refused' in mac ? mac : { addresses, mac: mac.claimed }
  }

  /** Rates follow the tier while the endpoint is attached; everything else stays as its container got it. */
  async #reshape(endpoint: Endpoint, allocation: Allocation): Promise<void> {
    const inputs = await this.#inputsOf(endpoint)
    if ('refused' in inputs || hasRates(allocation, inputs.rates)) return
    const promised = await this.#promise(endpoint, inputs.rates)
    if ('refused' in promised || hasRates(allocation, promised.rates)) return
    const { perfTierName: _tier, bandwidthFloor: _floor, bandwidthCap: _cap, ...rest } = allocation
    await this.#write(endpoint, { ...rest, ...promised.rates })
  }

  async #refuse(endpoint: Endpoint, error: CarbonadoError, network?: Network): Promise<void> {
    this.#parts.ledger.release(endpoint.metadata.uid!)
    await this.#write(endpoint, refusalOf(endpoint, error))
    this.#parts.events.refused(endpoint, error, network)
  }

  async #write(endpoint: Endpoint, decision: Decision): Promise<void> {
    const { name, namespace, resourceVersion } = endpoint.metadata
    const options = { subresource: 'status', resourceVersion } as const
    await this.#parts.store.patch(Endpoint, { name, namespace }, decisionPatch(decision), options)
  }

  #claimsOf({ metadata }: Endpoint): { addresses: AddressClaim[]; macs: MacClaim[] } {
    const { addresses, macs } = this.#parts.book
    return { addresses: addresses.of(metadata.uid!), macs: macs.of(metadata.uid!) }
  }
}

const chooseNetwork = { remedy: 'Choose one from `dctl network list`, or create it with `dctl network create`.' }
const chooseTier = { remedy: 'Choose one from `dctl perf-tier list`, or create it with `dctl perf-tier create`.' }
const chooseNode = { remedy: 'Choose one from `dctl node list`; a node appears there when its agent runs.' }

function rateUnknown(nodeName: string): Unavailable {
  return new Unavailable(`the link rate of node ${nodeName} is not known yet, so no bandwidth can be promised there`, {
    remedy: `Wait for its agent to report, or set uplinks.pods.rate of node ${nodeName}.`,
  })
}

function uplinkDown({ metadata: { name }, spec }: Node): Unavailable {
  const { interface: device } = spec.uplinks.pods
  return new Unavailable(`the uplink ${device} of node ${name} has no carrier, so no bandwidth can be promised there`, {
    remedy: 'Use another node, or check cable and switch port of that uplink.',
  })
}

function ownerOf({ metadata }: Endpoint): ClaimOwner {
  return { namespace: metadata.namespace!, name: metadata.name, uid: metadata.uid! }
}

function requestedOf({ spec }: Endpoint, wanted: Family): ReturnType<typeof parseAddress> | undefined {
  return spec.addresses?.map((text) => parseAddress(text)).find(({ family }) => family === wanted)
}
