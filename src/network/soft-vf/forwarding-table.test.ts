import { describe, expect, it } from 'vitest'
import { entryFor, placeEntry, placeOf } from './forwarding-table.ts'
import { forwardingKey } from './map-layout.ts'

const key = (macAddress: string, vlan: number): bigint => forwardingKey(macAddress, vlan).readBigUInt64LE()

describe('the place of a receiver', () => {
  it('is one of 4096, by the end of the MAC and the VLAN', () => {
    expect(placeOf(key('02:00:00:00:00:00', 0))).toBe(0)
    expect(placeOf(key('ff:ff:ff:ff:ff:ff', 0))).toBe(0xfff)
    expect(placeOf(key('02:00:00:00:00:00', 100))).toBe(100)
  })

  it('tells keys apart that share it: what it holds differs in more than the slot', () => {
    const [one, other] = [key('02:00:00:00:00:01', 0), key('02:00:00:00:00:00', 0x010)]
    expect(placeOf(one)).toBe(placeOf(other))
    const withoutSlot = (entry: bigint): bigint => entry & ~(0xfffn << 36n)
    expect(withoutSlot(placeEntry(one, 7))).not.toBe(withoutSlot(placeEntry(other, 7)))
  })

  it('gives the slot back', () => {
    expect((placeEntry(key('0a:58:0a:1e:00:0a', 100), 4095) >> 36n) & 0xfffn).toBe(4095n)
  })

  it('is empty for no key, and says so when several have it', () => {
    expect(entryFor(undefined)).toBe(0n)
    expect(entryFor(new Map())).toBe(0n)
    expect(entryFor(new Map([[key('02:00:00:00:00:01', 5), 3]]))).toBe(placeEntry(key('02:00:00:00:00:01', 5), 3))
    expect(entryFor(new Map([[1n, 3], [2n, 4]]))).toBe(0xffff_ffff_ffff_ffffn) // prettier-ignore
  })
})
