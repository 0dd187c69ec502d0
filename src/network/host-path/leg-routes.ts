import { findLink, furtherRoutes } from '../soft-vf/container-side.ts'
import { addRoute, decodeRoute, listRoutes, removeRoute, type NetlinkSocket, type Route } from '../netlink/index.ts'

const ipv4 = 2 // AF_INET
const mainTable = 254

/** Makes the routes of a leg those to `destinations` (CIDR) and no others. */
export async function syncLegRoutes(socket: NetlinkSocket, name: string, destinations: string[]): Promise<void> {
  const link = findLink(socket, name)
  if (!link) return
  const present = socket
    .dump(listRoutes(ipv4))
    .flatMap((message) => decodeRoute(message) ?? [])
    .filter(({ index, table }) => index === link.index && table === mainTable)
  const wanted = furtherRoutes({ routes: destinations.map((destination) => ({ destination })) }, link.index)
  const [have, want] = [new Set(present.map(keyOf)), new Set(wanted.map(keyOf))]
  await socket.must([
    ...wanted.filter((route) => !have.has(keyOf(route))).map(addRoute),
    ...present.filter((route) => !want.has(keyOf(route))).map(removeRoute),
  ])
}

function keyOf({ destination, gateway }: Route): string {
  return `${destination?.address}/${destination?.prefixLength} ${gateway}`
}
