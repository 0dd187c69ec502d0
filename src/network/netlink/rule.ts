import { addressBytes, addressOfBytes } from '../addresses/ip-address.ts'
import { familyOf } from './address.ts'
import { attribute, flags, readAttributes, u32, type NetlinkMessage, type NetlinkRequest } from './message.ts'

/** RTM_... of linux/rtnetlink.h. */
const type = { new: 32, delete: 33, get: 34 } as const
/** FRA_... of linux/fib_rules.h. */
const field = { source: 2, preference: 6, table: 15 } as const
const lookUp = 1 // FR_ACT_TO_TBL
const headerLength = 12 // struct fib_rule_hdr

/** Packets from a source address are routed by a table. */
export interface SourceRule {
  address: string
  table: number
  /** Rules of lower preference are asked first; the main table has 32766. */
  preference: number
}

/** Makes a rule. Refused with EEXIST when the same one is there. */
export function addSourceRule(rule: SourceRule): NetlinkRequest {
  return { type: type.new, flags: flags.create | flags.exclusive, body: encode(rule), purpose: `add ${text(rule)}` }
}

/** Removes a rule. Refused with ENOENT when it is not there. */
export function removeSourceRule(rule: SourceRule): NetlinkRequest {
  return { type: type.delete, flags: 0, body: encode(rule), purpose: `remove ${text(rule)}` }
}

function text({ address, table }: SourceRule): string {
  return `the rule from ${address} lookup ${table}`
}

function encode({ address, table, preference }: SourceRule): Buffer {
  const bytes = addressBytes(address)
  return Buffer.concat([
    Buffer.from([familyOf(address), 0, bytes.length * 8, 0, 0, 0, 0, lookUp, 0, 0, 0, 0]),
    attribute(field.source, bytes),
    attribute(field.preference, u32(preference)),
    attribute(field.table, u32(table)),
  ])
}

/** Asks for the rules of a family (AF_INET, AF_INET6). */
export function listRules(family: number): NetlinkRequest {
  const body = Buffer.alloc(headerLength)
  body[0] = family
  return { type: type.get, flags: 0, body, purpose: 'list the rules' }
}

/** A rule about one source address that a list tells of; undefined for other rules. */
export function decodeSourceRule({ type: found, body }: NetlinkMessage): SourceRule | undefined {
  if (found !== type.new) return undefined
  const fields = readAttributes(body.subarray(headerLength))
  const source = fields.get(field.source)
  const table = fields.get(field.table)
  if (!source || !table || body[2] !== source.length * 8) return undefined
  const preference = fields.get(field.preference)?.readUInt32LE() ?? 0
  return { address: addressOfBytes(source), table: table.readUInt32LE(), preference }
}
