import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AddressClaim, Endpoint, Network } from '../../src/api/index.ts'
import { ClaimBook, addressClaimName, formatAddress, type ClaimOwner } from '../../src/network/addresses/index.ts'
import { networkAdmission } from '../../src/network/control.ts'
import { EmbeddedStore } from '../../src/store/index.ts'

/** How a claims measurement is made. */
export interface ClaimsOptions {
  /** Callers that claim at the same time; 32 unless told. */
  claimants?: number
  /** Share of the /16 that is taken before; 0.9 unless told. */
  full?: number
  /** Addresses to claim in all; 6000 unless told, so that the /16 ends nearly full. */
  claims?: number
}

/** What came of it. */
export interface ClaimsResult {
  claimsPerSecond: number
  claims: number
  seconds: number
  /** Addresses that were handed out twice; anything but 0 is a defect. */
  duplicates: number
}

/**
 * Measures address claims per second: concurrent claimants on a /16 that is nearly full, through the allocator and the
 * embedded store on a file, with admission in force; a claim counts when it is on the disk.
 */
export async function measureClaims(options: ClaimsOptions = {}): Promise<ClaimsResult> {
  const { claimants = 32, full = 0.9, claims = 6000 } = options
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-bench-claims-'))
  const store = new EmbeddedStore({ file: join(folder, 'store.db'), admit: networkAdmission })
  try {
    const network = await createNetwork(store)
    const book = new ClaimBook(store)
    await fill(store, book, Math.floor(65_533 * full))
    book.putNetwork(network)
    const owners = await Promise.all(Array.from({ length: claimants }, (_, index) => createOwner(store, `c${index}`)))
    const begin = performance.now()
    const taken = await claimAll(book, store, network, owners, claims)
    const seconds = (performance.now() - begin) / 1000
    return { claimsPerSecond: claims / seconds, claims, seconds, duplicates: claims - new Set(taken).size }
  } finally {
    await store.close()
    rmSync(folder, { recursive: true })
  }
}

async function claimAll(
  book: ClaimBook,
  store: EmbeddedStore,
  network: Network,
  owners: ClaimOwner[],
  claims: number,
): Promise<string[]> {
  const taken: string[] = []
  let left = claims
  const claimant = async (owner: ClaimOwner): Promise<void> => {
    while (left-- > 0) {
      const result = await book.claimAddress(network, 4, owner)
      if ('refused' in result) throw result.refused
      await store.durable() // as control does before it answers
      taken.push(result.claimed.spec.address)
    }
  }
  await Promise.all(owners.map(claimant))
  return taken
}

async function createNetwork(store: EmbeddedStore): Promise<Network> {
  return store.create(Network, {
    metadata: { name: 'bench' },
    spec: {
      subnets: [{ cidr: '10.64.0.0/16', ranges: [], gateway: '10.64.0.1' }],
      vlan: 100,
      plane: 'pods',
      isDefault: false,
    },
  })
}

/** Takes the first `count` addresses of the subnet for one endpoint. */
async function fill(store: EmbeddedStore, book: ClaimBook, count: number): Promise<void> {
  const owner = await createOwner(store, 'filler')
  for (let index = 0; index < count; index += 1) {
    const address = { family: 4 as const, value: 0x0a400002n + BigInt(index) }
    const claim = await store.create(AddressClaim, {
      metadata: { name: addressClaimName('pods-100', address) },
      spec: { l2Domain: 'pods-100', address: formatAddress(address), networkName: 'bench', endpoint: owner },
    })
    book.putAddress(claim)
  }
}

async function createOwner(store: EmbeddedStore, name: string): Promise<ClaimOwner> {
  const endpoint = await store.create(Endpoint, {
    metadata: { name, namespace: 'default' },
    spec: { networkName: 'bench', isStatic: true },
  })
  return { namespace: 'default', name, uid: endpoint.metadata.uid! }
}

if (import.meta.main) {
  const { claimsPerSecond, claims, seconds, duplicates } = await measureClaims()
  console.log(
    `${Math.round(claimsPerSecond)} claims/s (${claims} in ${seconds.toFixed(2)} s, ${duplicates} duplicates)`,
  )
}
