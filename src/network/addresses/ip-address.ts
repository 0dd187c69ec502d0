import { isIP } from 'node:net'
import { InvalidInput } from '../../base/index.ts'

/** 4 or 6, as node:net's isIP says. */
export type Family = 4 | 6

/** An IP address as a number, so that ranges, successors and claim names are arithmetic. */
export interface IpAddress {
  family: Family
  value: bigint
}

/** A subnet without host bits: its first and last address, both inclusive. */
export interface Cidr {
  family: Family
  prefixLength: number
  first: bigint
  last: bigint
}

/** Bits of an address of each family. */
export const addressBits: Record<Family, number> = { 4: 32, 6: 128 }

/**
 * Parses an IPv4 or IPv6 address in any of its spellings. Throws InvalidInput that names `what` for anything else,
 * zone indexes (`fe80::1%eth0`) included.
 */
export function parseAddress(text: string, what = 'address'): IpAddress {
  const family = text.includes('%') ? 0 : isIP(text)
  if (family === 4) return { family, value: parseIpv4(text) }
  if (family === 6) return { family, value: parseIpv6(text) }
  throw new InvalidInput(`${what} "${text}" is not an IP address`, {
    remedy: 'Write an IPv4 address such as 10.30.0.10 or an IPv6 address such as fd00:30::10.',
  })
}

function parseIpv4(text: string): bigint {
  return BigInt(text.split('.').reduce((value, octet) => value * 256 + Number(octet), 0))
}

function parseIpv6(text: string): bigint {
  const [head = '', tail] = withoutDottedQuad(text).split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  const groups = [...before, ...zeros, ...after]
  return BigInt(`0x${groups.map((group) => group.padStart(4, '0')).join('')}`)
}

function withoutDottedQuad(text: string): string {
  const quad = /[0-9]+(\.[0-9]+){3}$/.exec(text)?.[0]
  if (quad === undefined) return text
  const hex = parseIpv4(quad).toString(16).padStart(8, '0')
  return `${text.slice(0, -quad.length)}${hex.slice(0, 4)}:${hex.slice(4)}`
}

/** Writes an address in its one canonical form (RFC 5952 for IPv6). */
export function formatAddress({ family, value }: IpAddress): string {
  return family === 4 ? formatIpv4(value) : formatIpv6(value)
}

function formatIpv4(value: bigint): string {
  const number = Number(value)
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.')
}

function formatIpv6(value: bigint): string {
  const hex = hexOf({ family: 6, value })
  const groups = hex.match(/.{4}/g)!.map((group) => group.replace(/^0{1,3}/, ''))
  const { start, length } = longestZeroRun(groups)
  if (length < 2) return groups.join(':')
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`
}

function longestZeroRun(groups: string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let length = 0
  for (const [index, group] of groups.entries()) {
    length = group === '0' ? length + 1 : 0
    if (length > best.length) best = { start: index - length + 1, length }
  }
  return best
}

/** All digits of an address in lower-case hexadecimal: 8 for IPv4, 32 for IPv6. */
export function hexOf({ family, value }: IpAddress): string {
  return value.toString(16).padStart(addressBits[family] / 4, '0')
}

/** An address as the four or sixteen bytes that it has on the wire. Throws InvalidInput like `parseAddress`. */
export function addressBytes(text: string): Buffer {
  return Buffer.from(hexOf(parseAddress(text)), 'hex')
}

/** The address that four or sixteen bytes are. */
export function addressOfBytes(bytes: Buffer): string {
  return formatAddress({ family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${bytes.toString('hex')}`) })
}

/** Parses `address/prefix`. Throws InvalidInput when it is malformed or has host bits set, naming the right subnet. */
export function parseCidr(text: string, what = 'subnet'): Cidr {
  const match = /^([^/]+)\/([0-9]{1,3})$/.exec(text)
  const remedy = 'Write a subnet such as 10.30.0.0/24 or fd00:30::/64.'
  if (!match) throw new InvalidInput(`${what} "${text}" is not of the form ADDRESS/PREFIX`, { remedy })
  const { family, value } = parseAddress(match[1]!, what)
  const prefixLength = Number(match[2])
  const bits = addressBits[family]
  if (prefixLength > bits) {
    throw new InvalidInput(`${what} "${text}" has a prefix longer than the ${bits} bits of an IPv${family} address`, {
      remedy,
    })
  }
  const size = 1n << BigInt(bits - prefixLength)
  const first = value - (value % size)
  if (first !== value) {
    const right = `${formatAddress({ family, value: first })}/${prefixLength}`
    throw new InvalidInput(`${what} "${text}" has host bits set; the subnet of that address is ${right}`, {
      remedy: `Write ${right}.`,
    })
  }
  return { family, prefixLength, first, last: first + size - 1n }
}

/** Whether an address, of whichever family, lies in a subnet. */
export function isInCidr({ family, first, last }: Cidr, address: IpAddress): boolean {
  return address.family === family && address.value >= first && address.value <= last
}

/** Writes a subnet as `address/prefix`. */
export function formatCidr({ family, prefixLength, first }: Cidr): string {
  return `${formatAddress({ family, value: first })}/${prefixLength}`
}
