import fc from 'fast-check'
import { expect, it } from 'vitest'
import { checkMacAddress, hexOfMac, randomMacAddress } from './mac-address.ts'

it('makes MACs that are unicast and locally administered, whatever chance brings', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (octets) => {
      const macAddress = randomMacAddress(() => octets)
      expect(Number.parseInt(macAddress.slice(0, 2), 16) & 3).toBe(2)
      expect(() => checkMacAddress(macAddress)).not.toThrow()
    }),
  )
  expect(randomMacAddress()).not.toBe(randomMacAddress())
})

it.each([
  ['01:00:5e:00:00:01', /multicast/],
  ['33:33:00:00:00:01', /multicast/],
  ['ff:ff:ff:ff:ff:ff', /broadcast/],
  ['00:00:00:00:00:00', /no address/],
  ['02:00:00:00:00', /six pairs/],
  ['02-00-00-00-00-01', /six pairs/],
  ['text', /six pairs/],
])('refuses %s', (macAddress, why) => expect(() => checkMacAddress(macAddress)).toThrow(why))

it('has 12 digits in a name', () => expect(hexOfMac('02:00:00:0a:0B:0c')).toBe('0200000a0b0c'))
