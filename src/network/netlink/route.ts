import { addressBytes, addressOfBytes } from '../addresses/ip-address.ts'
import { familyOf } from './address.ts'
import { attribute, flags, readAttributes, u32, type NetlinkMessage, type NetlinkRequest } from './message.ts'

/** RTM_... of linux/rtnetlink.h. */
const type = { new: 24, remove: 25, get: 26 } as const
/** RTA_... of linux/rtnetlink.h. */
const field = { destination: 1, device: 4, gateway: 5, metric: 6, table: 15 } as const
const mainTable = 254 // RT_TABLE_MAIN
const byBoot = 3 // RTPROT_BOOT: made by hand or script, as `ip route` marks it
const linkScope = 253 // RT_SCOPE_LINK
const unicast = 1 // RTN_UNICAST

/** A route by way of a device. */
export interface Route {
  index: number
  /** Absent: the default route. */
  destination?: { address: string; prefixLength: number }
  /** Absent: the destination is on the link itself; then `destination` says which family. */
  gateway?: string
  metric?: number
  /** The main table unless told. */
  table?: number
}

function header(family: number, prefixLength: number, scope: number): Buffer {
  return Buffer.from([family, prefixLength, 0, 0, 0, byBoot, scope, unicast, 0, 0, 0, 0]) // struct rtmsg
}

/** Makes a route. Refused with EEXIST when there is one to the same destination with the same metric in the table. */
export function addRoute(route: Route): NetlinkRequest {
  return {
    type: type.new,
    flags: flags.create | flags.exclusive,
    body: bodyOf(route),
    purpose: `add ${titleOf(route)}`,
  }
}

/** Removes a route. Refused with ESRCH when there is none such. */
export function removeRoute(route: Route): NetlinkRequest {
  return { type: type.remove, flags: 0, body: bodyOf(route), purpose: `remove ${titleOf(route)}` }
}

function titleOf({ destination, gateway }: Route): string {
  const to = destination ? `${destination.address}/${destination.prefixLength}` : 'default'
  return `route ${to}${gateway === undefined ? '' : ` by way of ${gateway}`}`
}

function bodyOf({ index, destination, gateway, metric, table = mainTable }: Route): Buffer {
  const family = familyOf(gateway ?? destination!.address)
  return Buffer.concat([
    header(family, destination?.prefixLength ?? 0, gateway === undefined ? linkScope : 0),
    ...(destination ? [attribute(field.destination, addressBytes(destination.address))] : []),
    ...(gateway === undefined ? [] : [attribute(field.gateway, addressBytes(gateway))]),
    attribute(field.device, u32(index)),
    ...(metric === undefined ? [] : [attribute(field.metric, u32(metric))]),
    attribute(field.table, u32(table)),
  ])
}

/** Asks for the unicast routes of a family (AF_INET, AF_INET6). */
export function listRoutes(family: number): NetlinkRequest {
  const body = Buffer.alloc(12)
  body[0] = family
  return { type: type.get, flags: 0, body, purpose: 'list the routes' }
}

/** A route that a list or an announcement tells of; undefined for other messages and routes without a device. */
export function decodeRoute({ type: found, body }: NetlinkMessage): (Route & { family: number }) | undefined {
  if (found !== type.new) return undefined
  const fields = readAttributes(body.subarray(12))
  const device = fields.get(field.device)
  if (!device || body[7] !== unicast) return undefined
  const gateway = fields.get(field.gateway)
  const destination = fields.get(field.destination)
  const metric = fields.get(field.metric)?.readUInt32LE()
  return {
    family: body[0]!,
    index: device.readUInt32LE(),
    table: fields.get(field.table)?.readUInt32LE() ?? body[4]!,
    ...(destination ? { destination: { address: addressOfBytes(destination), prefixLength: body[1]! } } : {}),
    ...(gateway ? { gateway: addressOfBytes(gateway) } : {}),
    ...(metric === undefined ? {} : { metric }),
  }
}
