import {
  AddressClaim,
  l2DomainOf,
  MacClaim,
  type KindDefinition,
  type KubeObject,
  type Network,
} from '../../api/index.ts'
import { CarbonadoError, Conflict, Exhausted } from '../../base/index.ts'
import { findObject, type ResourceStore } from '../../store/index.ts'
import { AddressPool } from './address-pool.ts'
import { contains } from './address-range.ts'
import { ClaimIndex } from './claim-index.ts'
import { addressClaimName, macClaimName } from './claim-name.ts'
import { formatAddress, isInCidr, parseAddress, type Family, type IpAddress } from './ip-address.ts'
import { hexOfMac, randomMacAddress } from './mac-address.ts'
import { formatRanges, subnetSpaces, type SubnetSpace } from './subnet-space.ts'

/** Who a claim belongs to. */
export type ClaimOwner = AddressClaim['spec']['endpoint']

/** A claim that was made, or why it cannot be: everything else (a store that does not answer) is thrown. */
export type ClaimResult<T> = { claimed: T } | { refused: CarbonadoError }

interface NetworkPools {
  network: Network
  l2Domain: string
  pools: { space: SubnetSpace; pool: AddressPool }[]
}

/** How often a create is tried whose name is taken by something that is gone when it is looked at. */
const createAttempts = 5

/** Random MACs tried before giving up; with 2^46 of them even the second try means that something is wrong. */
const macAttempts = 16

/**
 * Proposes free addresses and MACs from memory and takes them in the store, where the claim's name decides races.
 * What it knows is rebuilt from the claims and may lag behind: a proposal that is taken costs one refused create.
 */
export class ClaimBook {
  readonly addresses = new ClaimIndex<AddressClaim>()
  readonly macs = new ClaimIndex<MacClaim>()
  readonly #store: ResourceStore
  readonly #networks = new Map<string, NetworkPools>()
  /** How many L2 domains know each MAC, by its digits; one MAC in two domains confuses switches and people. */
  readonly #macUses = new Map<string, number>()

  constructor(store: ResourceStore) {
    this.#store = store
  }

  /** Learns of a network or its change. */
  putNetwork(network: Network): void {
    const known = this.#networks.get(network.metadata.name)
    const spaces = subnetSpaces(network)
    if (known && known.l2Domain === l2DomainOf(network) && sameSubnets(known, spaces)) {
      known.pools.forEach((entry, index) => {
        entry.space = spaces[index]!
        entry.pool.setRanges(entry.space.handOut)
      })
      known.network = network
      return
    }
    const l2Domain = l2DomainOf(network)
    const pools = spaces.map((space) => ({ space, pool: this.#newPool(l2Domain, space) }))
    this.#networks.set(network.metadata.name, { network, l2Domain, pools })
  }

  /** Forgets a network that is gone. */
  dropNetwork(name: string): void {
    this.#networks.delete(name)
  }

  /** Learns of an address claim; false when it was known. */
  putAddress(claim: AddressClaim): boolean {
    if (!this.addresses.put(claim)) return false
    for (const { pool, value } of this.#poolsOf(claim)) pool.take(value)
    return true
  }

  /** Learns that an address claim is gone. */
  dropAddress(claim: AddressClaim): boolean {
    if (!this.addresses.drop(claim)) return false
    for (const { pool, value } of this.#poolsOf(claim)) pool.release(value)
    return true
  }

  /** Learns of a MAC claim. */
  putMac(claim: MacClaim): boolean {
    if (!this.macs.put(claim)) return false
    const hex = hexOfMac(claim.spec.macAddress)
    this.#macUses.set(hex, (this.#macUses.get(hex) ?? 0) + 1)
    return true
  }

  /** Learns that a MAC claim is gone. */
  dropMac(claim: MacClaim): boolean {
    if (!this.macs.drop(claim)) return false
    const hex = hexOfMac(claim.spec.macAddress)
    const uses = (this.#macUses.get(hex) ?? 1) - 1
    if (uses === 0) this.#macUses.delete(hex)
    else this.#macUses.set(hex, uses)
    return true
  }

  /**
   * How many endpoints the network has addresses for and how many addresses are used, by its family with the fewest
   * left; undefined for a network that is not known.
   */
  usage(networkName: string): { total: number; used: number } | undefined {
    const counts = this.#networks.get(networkName)?.pools.map(({ pool }) => ({
      total: Number(pool.total > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : pool.total),
      used: pool.used,
    }))
    return counts?.sort((one, other) => one.total - one.used - (other.total - other.used))[0]
  }

  /** Takes an address of a family for the owner: the one requested, or any free one. */
  async claimAddress(
    network: Network,
    family: Family,
    owner: ClaimOwner,
    requested?: IpAddress,
  ): Promise<ClaimResult<AddressClaim>> {
    if (this.#networks.get(network.metadata.name)?.network.metadata.uid !== network.metadata.uid)
      this.putNetwork(network)
    const known = this.#networks.get(network.metadata.name)!
    const entry = known.pools.find(({ space }) => space.family === family)!
    if (requested) return this.#claimRequested(network, known.l2Domain, entry, owner, requested)
    for (;;) {
      const value = entry.pool.propose()
      if (value === undefined) return { refused: exhausted(network, entry.space) }
      const held = await this.#takeInStore(network, known.l2Domain, entry.pool, owner, { family, value })
      if (held.spec.endpoint.uid === owner.uid) return { claimed: held }
    }
  }

  /** Takes a MAC in an L2 domain for the owner: the one requested, or a new one that no domain knows. */
  async claimMac(l2Domain: string, owner: ClaimOwner, requested?: string): Promise<ClaimResult<MacClaim>> {
    for (let attempt = 0; attempt < macAttempts; attempt += 1) {
      const macAddress = requested ?? this.#unusedMac()
      const claim = macClaimFor(l2Domain, macAddress, owner)
      const held = await createOrFind(this.#store, MacClaim, claim)
      this.putMac(held)
      if (held.spec.endpoint.uid === owner.uid) return { claimed: held }
      if (requested) return { refused: taken(`MAC ${requested}`, l2Domain, held.spec.endpoint) }
    }
    return { refused: new Exhausted(`${macAttempts} random MACs in a row were taken in ${l2Domain}`) }
  }

  /** Gives claims back to the store and the free list. */
  async release(addresses: AddressClaim[], macs: MacClaim[]): Promise<void> {
    for (const claim of addresses) {
      await deleteExactly(this.#store, AddressClaim, claim)
      this.dropAddress(claim)
    }
    for (const claim of macs) {
      await deleteExactly(this.#store, MacClaim, claim)
      this.dropMac(claim)
    }
  }

  async #claimRequested(
    network: Network,
    l2Domain: string,
    { space, pool }: { space: SubnetSpace; pool: AddressPool },
    owner: ClaimOwner,
    requested: IpAddress,
  ): Promise<ClaimResult<AddressClaim>> {
    if (!contains(space.handOut, requested.value)) return { refused: outside(network, space, requested) }
    pool.take(requested.value)
    const held = await this.#takeInStore(network, l2Domain, pool, owner, requested)
    if (held.spec.endpoint.uid === owner.uid) return { claimed: held }
    return { refused: taken(`address ${formatAddress(requested)}`, l2Domain, held.spec.endpoint) }
  }

  /** Creates the claim of an address that the pool counts as taken; returns it, or the claim of whoever has it. */
  async #takeInStore(
    network: Network,
    l2Domain: string,
    pool: AddressPool,
    owner: ClaimOwner,
    address: IpAddress,
  ): Promise<AddressClaim> {
    const claim = addressClaimFor(network, l2Domain, address, owner)
    try {
      const held = await createOrFind(this.#store, AddressClaim, claim)
      this.putAddress(held)
      return held
    } finally {
      if (!this.addresses.get(claim.metadata.name)) pool.release(address.value)
    }
  }

  #unusedMac(): string {
    let macAddress = randomMacAddress()
    while (this.#macUses.has(hexOfMac(macAddress))) macAddress = randomMacAddress()
    return macAddress
  }

  *#poolsOf({ spec }: AddressClaim): Iterable<{ pool: AddressPool; value: bigint }> {
    const address = parseAddress(spec.address)
    for (const { l2Domain, pools } of this.#networks.values()) {
      if (l2Domain !== spec.l2Domain) continue
      for (const { space, pool } of pools) if (isInCidr(space.cidr, address)) yield { pool, value: address.value }
    }
  }

  #newPool(l2Domain: string, space: SubnetSpace): AddressPool {
    let newest = -1
    let after: bigint | undefined
    const used: bigint[] = []
    for (const { metadata, spec } of this.addresses.values()) {
      if (spec.l2Domain !== l2Domain) continue
      const address = parseAddress(spec.address)
      if (!isInCidr(space.cidr, address)) continue
      const { value } = address
      used.push(value)
      const version = Number(metadata.resourceVersion)
      if (version <= newest || !contains(space.handOut, value)) continue
      newest = version
      after = value
    }
    const pool = new AddressPool(space.handOut, after)
    for (const value of used) pool.take(value)
    return pool
  }
}

function sameSubnets(known: NetworkPools, spaces: SubnetSpace[]): boolean {
  if (known.pools.length !== spaces.length) return false
  return known.pools.every(
    ({ space }, index) =>
      space.family === spaces[index]!.family &&
      space.cidr.first === spaces[index]!.cidr.first &&
      space.cidr.last === spaces[index]!.cidr.last,
  )
}

function addressClaimFor(network: Network, l2Domain: string, address: IpAddress, owner: ClaimOwner): AddressClaim {
  return {
    metadata: { name: addressClaimName(l2Domain, address) },
    spec: { l2Domain, address: formatAddress(address), networkName: network.metadata.name, endpoint: owner },
  }
}

function macClaimFor(l2Domain: string, macAddress: string, owner: ClaimOwner): MacClaim {
  return { metadata: { name: macClaimName(l2Domain, macAddress) }, spec: { l2Domain, macAddress, endpoint: owner } }
}

/** Creates the object, or returns the one that has the name; tries again when that one went in between. */
async function createOrFind<T extends KubeObject>(
  store: ResourceStore,
  kind: KindDefinition<T>,
  object: T,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await store.create(kind, object)
    } catch (error) {
      if (!hasCode(error, 'Conflict') || attempt === createAttempts) throw error
    }
    try {
      return await store.get(kind, { name: object.metadata.name })
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error
    }
  }
}

/** Deletes this very object; it is fine when it is gone or its name belongs to another one by now. */
async function deleteExactly(store: ResourceStore, kind: KindDefinition, { metadata }: KubeObject): Promise<void> {
  const { name, uid } = metadata
  try {
    await store.delete(kind, { name }, uid === undefined ? {} : { uid })
  } catch (error) {
    if (hasCode(error, 'NotFound')) return
    if (!hasCode(error, 'Conflict')) throw error
    const found = await findObject(store, kind, { name })
    if (found?.metadata.uid === uid) throw error
  }
}

function hasCode(error: unknown, code: CarbonadoError['code']): boolean {
  return error instanceof CarbonadoError && error.code === code
}

/** The error for a network whose addresses of one family are all taken. */
function exhausted(network: Network, { family, handOut }: SubnetSpace): Exhausted {
  const { name } = network.metadata
  const total = handOut.reduce((sum, { start, end }) => sum + end - start + 1n, 0n)
  return new Exhausted(
    `network ${name} has no free IPv${family} address: all ${total} of ${formatRanges(family, handOut)} are used`,
    {
      remedy: `Delete endpoints that are no longer needed, or extend the range: \`dctl network update ${name} --end ADDRESS\`.`,
      details: { network: name, family, total: String(total) },
    },
  )
}

function outside(network: Network, { family, handOut }: SubnetSpace, requested: IpAddress): Conflict {
  const { name } = network.metadata
  return new Conflict(
    `address ${formatAddress(requested)} is not one that network ${name} hands out (${formatRanges(family, handOut)})`,
    { remedy: `Choose an address of those, or extend the range with \`dctl network update ${name} --end ADDRESS\`.` },
  )
}

/** The error for something that another endpoint has in the L2 domain. */
export function taken(what: string, l2Domain: string, { namespace, name }: ClaimOwner): Conflict {
  return new Conflict(`${what} is taken in L2 domain ${l2Domain} by endpoint ${namespace}/${name}`, {
    remedy: 'Choose another one, or delete that endpoint first.',
    details: { endpoint: { namespace, name } },
  })
}
