import type { AttachRequest } from '../engine.ts'
import {
  addAddress,
  addRoute,
  changeLink,
  decodeAddress,
  decodeQueue,
  decodeRoute,
  familyOf,
  listAddresses,
  listQueues,
  listRoutes,
  place,
  putTokenBucket,
  type Link,
  type NetlinkSocket,
  type Route,
} from '../netlink/index.ts'
import { findLink, furtherRoutes, sourceRouted, sourceRouting, subnetOf } from './container-side.ts'
import type { Damage } from './damage.ts'
import { isBucketOf } from './host-damage.ts'
import { capBucket } from './shaping.ts'

const mainTable = 254
const ipv4 = 2 // AF_INET; the routes of the host path have no other
/** Metric of the routes that the kernel makes for IPv6 addresses: IP6_RT_PRIO_ADDRCONF. */
const kernelMetric = 256
/** Metric of IPv6 routes that nobody gave one: IP6_RT_PRIO_USER. */
const usualIpv6Metric = 1024

/** Compares a container's side with what was made, through a socket opened in its namespace; only looks. */
export function containerDamage(socket: NetlinkSocket, request: AttachRequest, mtu: number): Damage[] {
  const link = findLink(socket, request.interfaceName)
  if (!link) {
    const message = `${request.interfaceName} is not in ${request.netns} any more; it was renamed or moved`
    return [{ reason: 'InterfaceMoved', message }]
  }
  return [
    ...linkDamage(link, request, mtu),
    ...queueDamage(socket, link, request),
    ...addressDamage(socket, link, request),
    ...routeDamage(socket, link, request),
    ...furtherRouteDamage(socket, link, request),
    ...sourceRouteDamage(socket, link, request),
  ]
}

function linkDamage(link: Link, { macAddress }: AttachRequest, mtu: number): Damage[] {
  const { name, index } = link
  const damage: Damage[] = []
  if (link.macAddress !== macAddress) {
    const message = `${name} has MAC ${link.macAddress}, not ${macAddress}: what it sends is dropped`
    damage.push({ reason: 'MacChanged', message, requests: [changeLink(name, index, { macAddress })] })
  }
  if (link.mtu !== mtu) {
    const message = `${name} has MTU ${link.mtu}, not ${mtu}`
    damage.push({ reason: 'MtuChanged', message, requests: [changeLink(name, index, { mtu })] })
  }
  if (!link.isUp) {
    damage.push({
      reason: 'InterfaceDown',
      message: `${name} is down`,
      requests: [changeLink(name, index, { isUp: true })],
    })
  }
  return damage
}

function queueDamage(socket: NetlinkSocket, { name, index }: Link, { bandwidthCap }: AttachRequest): Damage[] {
  if (!bandwidthCap) return []
  const queues = socket.dump(listQueues()).map(decodeQueue)
  const root = queues.find((queue) => queue?.index === index && queue.parent === place.root)
  if (isBucketOf(root, bandwidthCap)) return []
  const message = `${name} does not shape to the cap of ${bandwidthCap} bit/s; what is above is dropped instead`
  const requests = [putTokenBucket(name, index, capBucket(bandwidthCap))]
  // one with another rate is left from an earlier cap
  return [{ reason: 'ShaperMissing', message, requests, ...(root?.kind === 'tbf' ? { isExpected: true } : {}) }]
}

function addressDamage(socket: NetlinkSocket, { index }: Link, { addresses }: AttachRequest): Damage[] {
  const present = socket.dump(listAddresses(index)).map((message) => decodeAddress(message)?.address)
  return addresses
    .filter(({ address }) => !present.includes(address))
    .map(({ address, prefixLength }) => ({
      reason: 'AddressMissing',
      message: `address ${address} is missing`,
      requests: [addAddress({ index, address, prefixLength })],
    }))
}

/** A default route that something else of the container has put in the place of ours is left alone. */
function routeDamage(socket: NetlinkSocket, { index }: Link, request: AttachRequest): Damage[] {
  const { addresses, defaultRouteMetric: metric } = request
  return addresses.flatMap(({ address, prefixLength, gateway }) => {
    const family = familyOf(address)
    const routes = socket.dump(listRoutes(family)).flatMap((message) => decodeRoute(message) ?? [])
    const main = routes.filter((route) => route.family === family && route.table === mainTable)
    const subnet = subnetOf(address, prefixLength)
    const damage: Damage[] = []
    if (!main.some((route) => route.index === index && isTo(route, subnet))) {
      const kernels = family === 2 ? {} : { metric: kernelMetric }
      const requests = [addRoute({ index, destination: subnet, ...kernels })]
      damage.push({
        reason: 'RouteMissing',
        message: `the route to ${subnet.address}/${subnet.prefixLength} is missing`,
        requests,
      })
    }
    const taken = metric ?? (family === 2 ? undefined : usualIpv6Metric)
    const isDefault = (route: Route): boolean => !route.destination && (route.index === index || route.metric === taken)
    if (gateway !== undefined && !main.some(isDefault)) {
      const requests = [addRoute({ index, gateway, ...(metric === undefined ? {} : { metric }) })]
      damage.push({ reason: 'RouteMissing', message: `the default route by way of ${gateway} is missing`, requests })
    }
    return damage
  })
}

function furtherRouteDamage(socket: NetlinkSocket, { index }: Link, request: AttachRequest): Damage[] {
  if (!request.routes?.length) return []
  const present = socket.dump(listRoutes(ipv4)).flatMap((message) => decodeRoute(message) ?? [])
  const main = present.filter((route) => route.table === mainTable && route.index === index)
  return furtherRoutes(request, index)
    .filter((wanted) => !main.some((route) => isTo(route, wanted.destination!) && route.gateway === wanted.gateway))
    .map((wanted) => ({
      reason: 'RouteMissing',
      message: `the route to ${wanted.destination!.address}/${wanted.destination!.prefixLength} is missing`,
      requests: [addRoute(wanted)],
    }))
}

function isTo({ destination }: Route, { address, prefixLength }: NonNullable<Route['destination']>): boolean {
  return destination?.address === address && destination.prefixLength === prefixLength
}

function sourceRouteDamage(socket: NetlinkSocket, link: Link, request: AttachRequest): Damage[] {
  if (request.routingTable === undefined) return []
  const routed = sourceRouted(socket, link.index, request.routingTable)
  const missing = request.addresses.filter(({ address }) => !routed.includes(address))
  if (missing.length === 0) return []
  const message = `what is sent from ${missing.map(({ address }) => address).join(', ')} is not routed by table ${request.routingTable}`
  return [{ reason: 'SourceRouteMissing', message, requests: sourceRouting(request, link) }]
}
