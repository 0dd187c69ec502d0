import {
  attribute,
  flags,
  readAttributes,
  readText,
  text,
  u32,
  u8,
  type NetlinkMessage,
  type NetlinkRequest,
} from './message.ts'

/** RTM_... of linux/rtnetlink.h. */
const type = { new: 16, delete: 17, get: 18 } as const
/** IFLA_... of linux/if_link.h. */
const field = {
  address: 1,
  name: 3,
  mtu: 4,
  information: 18,
  alias: 20,
  familySettings: 26,
  group: 27,
  namespace: 28,
  sendQueues: 31,
  receiveQueues: 32,
  peerNamespace: 37,
} as const
const kindField = 1 // IFLA_INFO_KIND
const dataField = 2 // IFLA_INFO_DATA
const peerField = 1 // VETH_INFO_PEER
const ipv6Family = 10 // AF_INET6
const addressModeField = 8 // IFLA_INET6_ADDR_GEN_MODE
const addressModeNone = 1 // IN6_ADDR_GEN_MODE_NONE
const upFlag = 1 // IFF_UP
const carrierFlag = 0x10000 // IFF_LOWER_UP

/** A network device as the kernel has it. */
export interface Link {
  index: number
  name: string
  macAddress: string
  mtu: number
  isUp: boolean
  hasCarrier: boolean
  /** `veth`, `bridge`...; undefined for hardware and the loopback. */
  kind: string | undefined
  alias: string | undefined
  /** This namespace's number for the one that a veth's other end is in; undefined when it is in this one. */
  peerNamespace: number | undefined
}

/** A pair of veth devices, the far one in another namespace. */
export interface VethPair {
  name: string
  index: number
  mtu: number
  peer: { name: string; namespace: number }
}

function header(index: number, isUp?: boolean): Buffer {
  const bytes = Buffer.alloc(16) // struct ifinfomsg
  bytes.writeInt32LE(index, 4)
  if (isUp !== undefined) {
    bytes.writeUInt32LE(isUp ? upFlag : 0, 8)
    bytes.writeUInt32LE(upFlag, 12)
  }
  return bytes
}

/**
 * Makes a veth pair; `namespace` is a descriptor. With one queue on each side: veth needs no more (its queues only keep
 * XDP's rings apart), and every further one costs some 0.2 ms in sysfs when it is made and removed.
 */
export function addVeth({ name, index, mtu, peer }: VethPair): NetlinkRequest {
  const queues = [attribute(field.sendQueues, u32(1)), attribute(field.receiveQueues, u32(1))]
  const farEnd = attribute(
    peerField,
    header(0),
    attribute(field.name, text(peer.name)),
    attribute(field.mtu, u32(mtu)),
    attribute(field.namespace, u32(peer.namespace)),
    ...queues,
  )
  const information = [attribute(kindField, text('veth')), attribute(dataField, farEnd)]
  return {
    type: type.new,
    flags: flags.create | flags.exclusive,
    body: Buffer.concat([
      header(index),
      attribute(field.name, text(name)),
      attribute(field.mtu, u32(mtu)),
      ...queues,
      attribute(field.information, ...information),
    ]),
    purpose: `add veth ${name} with ${peer.name} at its other end`,
  }
}

/** What can be changed of a device. */
export interface LinkChange {
  macAddress?: string
  mtu?: number
  name?: string
  /** At most 255 bytes. */
  alias?: string
  /** Whether the kernel forms an IPv6 link-local address when the device comes up. */
  formsLinkLocal?: false
  isUp?: boolean
  /** Number of an interface group. */
  group?: number
}

/** Changes a device that is named, as errors should call it, and numbered. */
export function changeLink(name: string, index: number, change: LinkChange): NetlinkRequest {
  const { macAddress, mtu, name: newName, alias, formsLinkLocal, isUp, group } = change
  const withoutAddress = attribute(ipv6Family, attribute(addressModeField, u8(addressModeNone)))
  const attributes = [
    ...(macAddress === undefined ? [] : [attribute(field.address, Buffer.from(macAddress.replaceAll(':', ''), 'hex'))]),
    ...(mtu === undefined ? [] : [attribute(field.mtu, u32(mtu))]),
    ...(newName === undefined ? [] : [attribute(field.name, text(newName))]),
    ...(alias === undefined ? [] : [attribute(field.alias, Buffer.from(alias))]),
    ...(formsLinkLocal === undefined ? [] : [attribute(field.familySettings, withoutAddress)]),
    ...(group === undefined ? [] : [attribute(field.group, u32(group))]),
  ]
  const what = Object.entries(change).map(([key, value]) => `${key} ${value}`)
  return {
    type: type.new,
    flags: 0,
    body: Buffer.concat([header(index, isUp), ...attributes]),
    purpose: `set ${what.join(', ')} of ${name}`,
  }
}

/** Removes all devices of a group. */
export function removeGroup(group: number): NetlinkRequest {
  const body = Buffer.concat([header(0), attribute(field.group, u32(group))])
  return { type: type.delete, flags: 0, body, purpose: `remove the interfaces of group ${group}` }
}

/** Asks for one device by its name. */
export function linkByName(name: string): NetlinkRequest {
  const body = Buffer.concat([header(0), attribute(field.name, text(name))])
  return { type: type.get, flags: 0, body, purpose: `look up ${name}` }
}

/** Asks for all devices, or for those of a kind. */
export function listLinks(kind?: string): NetlinkRequest {
  const filter = kind === undefined ? [] : [attribute(field.information, attribute(kindField, text(kind)))]
  return { type: type.get, flags: 0, body: Buffer.concat([header(0), ...filter]), purpose: 'list the interfaces' }
}

/** A device that a list, a query or an announcement tells of; undefined for other messages. */
export function decodeLink({ type: found, body }: NetlinkMessage): Link | undefined {
  if (found !== type.new) return undefined
  const fields = readAttributes(body.subarray(16))
  const state = body.readUInt32LE(8)
  const information = readAttributes(fields.get(field.information) ?? Buffer.alloc(0))
  return {
    index: body.readInt32LE(4),
    name: readText(fields.get(field.name)) ?? '',
    macAddress: (fields.get(field.address)?.toString('hex') ?? '').replace(/(..)(?!$)/g, '$1:'),
    mtu: fields.get(field.mtu)?.readUInt32LE() ?? 0,
    isUp: (state & upFlag) !== 0,
    hasCarrier: (state & carrierFlag) !== 0,
    kind: readText(information.get(kindField)),
    alias: readText(fields.get(field.alias)),
    peerNamespace: fields.get(field.peerNamespace)?.readInt32LE(),
  }
}
