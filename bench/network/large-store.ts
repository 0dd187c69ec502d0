import { join } from 'node:path'
import { AddressClaim, Endpoint, MacClaim, Network, Node, type KubeObject } from '../../src/api/index.ts'
import { addressClaimName, formatAddress, macClaimName, parseAddress } from '../../src/network/addresses/index.ts'
import { EmbeddedStore, type ResourceStore } from '../../src/store/index.ts'

/** How much is in a store. */
export interface StoreSize {
  nodes: number
  endpoints: number
}

/** Addresses of a /22, less network and broadcast. */
const perNetwork = 1000

/** Name of the nth simulated node. */
export function nodeName(index: number): string {
  return `n${index}`
}

/**
 * Fills a new store with what a large cluster has: nodes, networks of a thousand addresses each, endpoints that are
 * allocated and attached, and their claims. Control then starts on it as after any restart.
 */
export async function fillStore(dataDirectory: string, { nodes, endpoints }: StoreSize): Promise<void> {
  const store = new EmbeddedStore({ file: join(dataDirectory, 'store.db'), syncEveryWrite: false })
  try {
    for (let index = 0; index < nodes; index += 1) await store.create(Node, nodeObject(index))
    for (let index = 0; index * perNetwork < endpoints; index += 1) await store.create(Network, networkObject(index))
    for (let index = 0; index < endpoints; index += 1) await addEndpoint(store, index, nodes)
  } finally {
    await store.close()
  }
}

/** The same in a store behind a server, many writes at a time. */
export async function fillRemoteStore(store: ResourceStore, { nodes, endpoints }: StoreSize): Promise<void> {
  await inParallel(nodes, (index) => store.create(Node, nodeObject(index)))
  await inParallel(Math.ceil(endpoints / perNetwork), (index) => store.create(Network, networkObject(index)))
  await inParallel(endpoints, (index) => addEndpoint(store, index, nodes))
}

async function inParallel(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: 48 }, worker))
}

async function addEndpoint(store: ResourceStore, index: number, nodes: number): Promise<void> {
  const network = Math.floor(index / perNetwork)
  const place = (index % perNetwork) + 2
  const address = `10.${network}.${Math.floor(place / 256)}.${place % 256}`
  const macAddress = `02:00:00:${[index >> 16, (index >> 8) & 255, index & 255].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}` // prettier-ignore
  const [node, l2Domain, networkName] = [nodeName(index % nodes), `pods-${network + 1}`, `net${network}`]
  const containerId = `container-${index}`
  const made = await store.create(Endpoint, {
    metadata: { name: `e${index}`, namespace: 'default', finalizers: ['carbonado.io/attachment'] },
    spec: { networkName, isStatic: false, nodeName: node, holder: { containerId, interfaceName: 'eth0' } },
  })
  const owner = { namespace: 'default', name: made.metadata.name, uid: made.metadata.uid! }
  await store.create(AddressClaim, {
    metadata: { name: addressClaimName(l2Domain, parseAddress(address)) },
    spec: { l2Domain, address: formatAddress(parseAddress(address)), networkName, endpoint: owner },
  })
  await store.create(MacClaim, {
    metadata: { name: macClaimName(l2Domain, macAddress) },
    spec: { l2Domain, macAddress, endpoint: owner },
  })
  const since = new Date().toISOString()
  await store.updateStatus(Endpoint, {
    ...made,
    status: {
      allocation: {
        state: 'Allocated', generation: 1, addresses: [{ address, prefixLength: 22 }], macAddress, vlan: network + 1, bandwidthFloor: 0,
      },
      attachment: { nodeName: node, containerId, hostInterface: `cbn${index % 4000}`, since },
    },
  }) // prettier-ignore
}

function nodeObject(index: number): Node {
  const uplinks = { pods: { interface: 'eth0', rate: '25G' } }
  return { metadata: { name: nodeName(index) }, spec: { uplinks, maximumInterfaces: 1000 } }
}

function networkObject(index: number): Network & KubeObject {
  const subnets = [{ cidr: `10.${index}.0.0/22`, ranges: [] }]
  return { metadata: { name: `net${index}` }, spec: { subnets, vlan: index + 1, plane: 'pods', isDefault: false } }
}
