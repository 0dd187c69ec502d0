import { statfsSync } from 'node:fs'
import { InvalidInput, NotFound } from '../../base/index.ts'
import type { AttachRequest } from '../engine.ts'
import {
  addAddress,
  addRoute,
  changeLink,
  decodeAddress,
  decodeLink,
  linkByName,
  listAddresses,
  NetlinkSocket,
  putTokenBucket,
  type InterfaceAddress,
  type Link,
  type NetlinkRequest,
} from '../netlink/index.ts'
import { capBucket } from './shaping.ts'

const networkNamespaceFileSystem = 0x6e736673 // NSFS_MAGIC
const loopbackIndex = 1

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

/**
 * Makes the interface inside a container what was asked for, and brings it up last: from then on it may send. Throws
 * NetlinkError, NotFound when the interface is not there.
 */
export async function configureContainer(request: AttachRequest, mtu: number): Promise<void> {
  using socket = NetlinkSocket.openIn(request.netns)
  const link = findLink(socket, request.interfaceName)
  if (!link) throw new NotFound(`${request.interfaceName} is not in ${request.netns}`)
  await socket.must(containerRequests(request, link, mtu))
}

/** The queue before the addresses, these before the link comes up, routes after. */
function containerRequests(request: AttachRequest, link: Link, mtu: number): NetlinkRequest[] {
  const { interfaceName: name, macAddress, bandwidthCap, addresses } = request
  const { index } = link
  return [
    changeLink(name, index, { macAddress, ...(link.mtu === mtu ? {} : { mtu }) }),
    // What the container sends is held to its cap gently, inside; the bucket at the host end is for who removes this.
    ...(bandwidthCap ? [putTokenBucket(name, index, capBucket(bandwidthCap))] : []),
    ...addresses.map(({ address, prefixLength }) => addAddress({ index, address, prefixLength })),
    changeLink('lo', loopbackIndex, { isUp: true }),
    changeLink(name, index, { isUp: true }),
    ...addresses.flatMap(({ gateway }) => (gateway ? [addRoute({ index, gateway })] : [])),
  ]
}

/** What a container's interface looks like. */
export interface ContainerState {
  link: Link
  addresses: InterfaceAddress[]
}

/** What the container's interface looks like now; undefined when there is none. Throws when there is no namespace. */
export function inspectContainer(netns: string, interfaceName: string): ContainerState | undefined {
  using socket = NetlinkSocket.openIn(netns)
  const link = findLink(socket, interfaceName)
  if (!link) return undefined
  const addresses = socket.dump(listAddresses(link.index)).map(decodeAddress)
  return { link, addresses: addresses.filter((address) => address !== undefined) }
}

function findLink(socket: NetlinkSocket, name: string): Link | undefined {
  const message = socket.get(linkByName(name))
  return message && decodeLink(message)
}
