import { existsSync, statfsSync, writeFileSync } from 'node:fs'
import { InvalidInput, NotFound } from '../../base/index.ts'
import { addressBits, formatAddress, parseAddress, parseCidr } from '../addresses/ip-address.ts'
import type { AttachRequest, ContainerPlace } from '../engine.ts'
import {
  addAddress,
  addRoute,
  addSourceRule,
  changeLink,
  decodeAddress,
  decodeLink,
  decodeRoute,
  decodeSourceRule,
  familyOf,
  inNetworkNamespace,
  linkByName,
  listAddresses,
  listRoutes,
  listRules,
  NetlinkSocket,
  putTokenBucket,
  removeSourceRule,
  type InterfaceAddress,
  type Link,
  type NetlinkRequest,
  type Route,
  type SourceRule,
} from '../netlink/index.ts'
import { capBucket } from './shaping.ts'

const networkNamespaceFileSystem = 0x6e736673 // NSFS_MAGIC
const loopbackIndex = 1

/** Whether a network namespace is at the path. */
export function isNetworkNamespace(path: string): boolean {
  return fileSystemType(path) === networkNamespaceFileSystem
}

/** Throws NotFound when nothing is at the path, InvalidInput when it is no network namespace. */
export function assertNetworkNamespace(path: string): void {
  const type = fileSystemType(path)
  if (type === undefined) {
    throw new NotFound(`network namespace ${path} does not exist`, {
      remedy: 'The container has probably gone; start it again.',
    })
  }
  if (type !== networkNamespaceFileSystem) {
    throw new InvalidInput(`${path} is not a network namespace`, {
      remedy: 'Give the path of a network namespace file.',
    })
  }
}

function fileSystemType(path: string): number | undefined {
  try {
    return statfsSync(path).type
  } catch {
    return undefined
  }
}

/** The end of an interface that is inside a container; while it is open it keeps the namespace alive. */
export class ContainerEnd implements Disposable {
  readonly #socket: NetlinkSocket
  readonly #link: Link

  /** Throws NotFound when the interface is not there. */
  constructor({ netns, interfaceName }: Pick<ContainerPlace, 'netns' | 'interfaceName'>) {
    using open = new DisposableStack()
    const enter = (): NetlinkSocket => {
      ignoreRouters(interfaceName)
      return NetlinkSocket.open()
    }
    this.#socket = open.use(inNetworkNamespace(netns, enter))
    const link = findLink(this.#socket, interfaceName)
    if (!link) throw new NotFound(`${interfaceName} is not in ${netns}`)
    this.#link = link
    open.move()
  }

  /**
   * Makes it what was asked for, and brings it up last, once the host's end is ready: from then on it may send. Throws
   * NetlinkError, or what `hostSide` rejects with.
   */
  async configure(request: AttachRequest, mtu: number, hostSide: Promise<unknown>): Promise<void> {
    const [socket, link] = [this.#socket, this.#link]
    await Promise.all([socket.must(beforeUp(request, link, mtu)), hostSide])
    await changeAll(socket, bringUp(request, link), withoutStaleRules(socket, request, link))
  }

  [Symbol.dispose](): void {
    this.#socket.close()
  }
}

/**
 * Keeps routers of the VLAN from giving an interface of this namespace addresses and routes (RFC 4861, RFC 4862), before it is
 * up: what it sends from such an address is dropped as forged, so connections that chose it would only time out.
 */
function ignoreRouters(name: string): void {
  const file = `/proc/sys/net/ipv6/conf/${name}/accept_ra`
  if (existsSync(file)) writeFileSync(file, '0') // a kernel without IPv6 has nothing to switch off
}

/** Gives an interface that is attached the routing table that it was attached without, if there is to be one. */
export async function addSourceRouting(request: AttachRequest): Promise<void> {
  if (request.routingTable === undefined) return
  using socket = NetlinkSocket.openIn(request.netns)
  const link = findLink(socket, request.interfaceName)
  if (link) await changeAll(socket, [], withoutStaleRules(socket, request, link))
}

/** Carries out requests in one go. Of those that may be repeated it is no failure when they have been done before. */
async function changeAll(socket: NetlinkSocket, once: NetlinkRequest[], repeatable: NetlinkRequest[]): Promise<void> {
  const refused = await socket.change([...once, ...repeatable])
  const failed = refused.find(({ request, error }) => !(repeatable.includes(request) && error.isDoneAlready))
  if (failed) throw failed.error
}

/** Rules about the addresses that lead elsewhere: left by an interface that had them before; rules outlive interfaces. */
function staleRules(socket: NetlinkSocket, { addresses, routingTable }: AttachRequest): SourceRule[] {
  const ours = addresses.map(({ address }) => address)
  return [...new Set(ours.map(familyOf))]
    .flatMap((family) => socket.dump(listRules(family)).map(decodeSourceRule))
    .filter((rule) => rule !== undefined && ours.includes(rule.address) && rule.table !== routingTable) as SourceRule[]
}

function withoutStaleRules(socket: NetlinkSocket, request: AttachRequest, link: Link): NetlinkRequest[] {
  if (request.routingTable === undefined) return []
  return [...staleRules(socket, request).map(removeSourceRule), ...sourceRouting(request, link)]
}

/** The routes of the interface in its own table before the rules that lead there. */
export function sourceRouting(
  { addresses, routes, routingTable: table }: AttachRequest,
  { index }: Link,
): NetlinkRequest[] {
  if (table === undefined) return []
  return [
    ...addresses.flatMap(({ address, prefixLength, gateway }) => [
      addRoute({ index, table, destination: subnetOf(address, prefixLength) }),
      ...(gateway === undefined ? [] : [addRoute({ index, table, gateway })]),
    ]),
    ...furtherRoutes({ routes }, index).map((route) => addRoute({ ...route, table })),
    ...addresses.map(({ address }) => addSourceRule({ address, table, preference: table })),
  ]
}

/** The subnet that an address with its prefix is in. */
export function subnetOf(address: string, prefixLength: number): { address: string; prefixLength: number } {
  const { family, value } = parseAddress(address)
  const size = 1n << BigInt(addressBits[family] - prefixLength)
  return { address: formatAddress({ family, value: value - (value % size) }), prefixLength }
}

/** The queue before the addresses, these before the link comes up, routes after. */
function beforeUp(
  { interfaceName: name, macAddress, bandwidthCap, addresses }: AttachRequest,
  { index, mtu: mtuNow }: Link,
  mtu: number,
): NetlinkRequest[] {
  return [
    changeLink(name, index, { macAddress, ...(mtuNow === mtu ? {} : { mtu }) }),
    // What the container sends is held to its cap gently, inside; the bucket at the host end is for who removes this.
    ...(bandwidthCap ? [putTokenBucket(name, index, capBucket(bandwidthCap))] : []),
    ...addresses.map(({ address, prefixLength }) => addAddress({ index, address, prefixLength })),
    changeLink('lo', loopbackIndex, { isUp: true }),
  ]
}

function bringUp(request: AttachRequest, { index }: Link): NetlinkRequest[] {
  const { interfaceName: name, addresses, defaultRouteMetric: metric } = request
  return [
    changeLink(name, index, { isUp: true }),
    ...addresses.flatMap(({ gateway }) =>
      gateway ? [addRoute({ index, gateway, ...(metric === undefined ? {} : { metric }) })] : [],
    ),
    ...furtherRoutes(request, index).map(addRoute),
  ]
}

/** The further routes of a request, as the kernel has them. */
export function furtherRoutes({ routes = [] }: Pick<AttachRequest, 'routes'>, index: number): Route[] {
  return routes.map(({ destination, gateway }) => {
    const { family, first, prefixLength } = parseCidr(destination)
    const subnet = { address: formatAddress({ family, value: first }), prefixLength }
    return { index, destination: subnet, ...(gateway === undefined ? {} : { gateway }) }
  })
}

/** What a container's interface looks like. */
export interface ContainerState {
  link: Link
  addresses: InterfaceAddress[]
  /** Addresses whose packets a rule sends to the table asked for, and that table to this interface. */
  sourceRouted: string[]
}

/**
 * What the container's interface looks like now, and what its routing table does; undefined when there is no interface.
 * Throws when there is no namespace.
 */
export function inspectContainer({
  netns,
  interfaceName,
  routingTable,
}: Pick<AttachRequest, 'netns' | 'interfaceName' | 'routingTable'>): ContainerState | undefined {
  using socket = NetlinkSocket.openIn(netns)
  const link = findLink(socket, interfaceName)
  if (!link) return undefined
  const addresses = socket.dump(listAddresses(link.index)).map(decodeAddress)
  return {
    link,
    addresses: addresses.filter((address) => address !== undefined),
    sourceRouted: routingTable === undefined ? [] : sourceRouted(socket, link.index, routingTable),
  }
}

/** Addresses whose packets a rule sends to a table that leads to the interface. */
export function sourceRouted(socket: NetlinkSocket, index: number, table: number): string[] {
  const families = [2, 10] // AF_INET, AF_INET6
  const hasRoute = (family: number): boolean =>
    socket.dump(listRoutes(family)).some((message) => {
      const route = decodeRoute(message)
      return route?.table === table && route.index === index && route.family === family
    })
  return families.flatMap((family) => {
    const rules = socket.dump(listRules(family)).map(decodeSourceRule)
    const ours = rules.filter((rule) => rule?.table === table && familyOf(rule.address) === family)
    return ours.length > 0 && hasRoute(family) ? ours.map((rule) => rule!.address) : []
  })
}

/** A device by its name; undefined when there is none. */
export function findLink(socket: NetlinkSocket, name: string): Link | undefined {
  const message = socket.get(linkByName(name))
  return message && decodeLink(message)
}
