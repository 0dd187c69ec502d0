import fc from 'fast-check'
import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { formatAddress, formatCidr, hexOf, parseAddress, parseCidr, type IpAddress } from './ip-address.ts'

const ipv4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): IpAddress => ({ family: 4, value }))
const ipv6 = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value): IpAddress => ({ family: 6, value }))
/** IPv6 addresses with runs of zero groups, where the short form has its traps. */
const withZeros = fc
  .array(fc.constantFrom(0n, 0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 })
  .map((groups): IpAddress => ({
    family: 6,
    value: groups.reduce<bigint>((value, group) => value * 65536n + group, 0n),
  }))
const address = fc.oneof(ipv4, ipv6, withZeros)

describe('addresses', () => {
  it('are the same after writing and reading', () => {
    fc.assert(
      fc.property(address, (one) => {
        const text = formatAddress(one)
        expect(isIP(text)).toBe(one.family)
        expect(parseAddress(text)).toEqual(one)
      }),
      { numRuns: 2000 },
    )
  })

  it('have the canonical form that the URL parser gives them', () => {
    fc.assert(
      fc.property(address, (one) => {
        if (one.family === 4) return
        expect(`[${formatAddress(one)}]`).toBe(new URL(`http://[${hexGroups(one)}]/`).hostname)
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['10.30.0.10', 0x0a1e000an],
    ['::', 0n],
    ['::1', 1n],
    ['fd00:30::', 0xfd000030n << 96n],
    ['1::8', (1n << 112n) + 8n],
    ['::ffff:1.2.3.4', 0xffff01020304n],
    ['FD00::A', (0xfd00n << 112n) + 10n],
  ])('reads %s', (text, value) => expect(parseAddress(text).value).toBe(value))

  it.each(['', 'ten', '10.0.0', '10.0.0.256', '1::2::3', 'fe80::1%eth0', '10.0.0.1/24', ' 10.0.0.1'])(
    'refuses "%s"',
    (text) => expect(() => parseAddress(text, 'gateway')).toThrow(/gateway ".*" is not an IP address/),
  )

  it('have all their digits in a name', () => {
    expect(hexOf(parseAddress('0.0.0.1'))).toBe('00000001')
    expect(hexOf(parseAddress('::1'))).toHaveLength(32)
  })
})

describe('subnets', () => {
  it('know their ends', () => {
    const cidr = parseCidr('10.30.0.0/24')
    expect([cidr.first, cidr.last].map((value) => formatAddress({ family: 4, value }))).toEqual([
      '10.30.0.0',
      '10.30.0.255',
    ])
    expect(formatCidr(parseCidr('FD00:30:0::/64'))).toBe('fd00:30::/64')
  })

  it('tell the right subnet when host bits are set', () => {
    expect(() => parseCidr('10.30.0.7/24')).toThrow(/has host bits set; the subnet of that address is 10.30.0.0\/24/)
  })

  it.each(['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '10.0.0.0/-1', '10.0.0.0/x', '/24', '10.0.0.0/24/1'])(
    'refuse "%s"',
    (text) => expect(() => parseCidr(text)).toThrow(),
  )
})

function hexGroups(one: IpAddress): string {
  return hexOf(one).match(/.{4}/g)!.join(':')
}
