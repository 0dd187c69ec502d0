import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseHostAddress, hostMacAddress, isWithin } from './host-address.ts'

describe('the address of a node on the VLANs of pods', () => {
  it('is free, in the range, and the same again for the same node', () => {
    fc.assert(
      fc.property(fc.array(fc.uuid(), { minLength: 1, maxLength: 40 }), (uids) => {
        const taken = new Set<string>()
        for (const uid of uids) {
          const address = chooseHostAddress('169.254.64.0/26', uid, taken)!
          expect(isWithin('169.254.64.0/26', address)).toBe(true)
          expect(taken.has(address)).toBe(false)
          expect(chooseHostAddress('169.254.64.0/26', uid, taken)).toBe(address)
          taken.add(address)
        }
      }),
    )
  })

  it('is none when all are taken', () => {
    expect(chooseHostAddress('169.254.64.0/30', 'a', new Set(['169.254.64.1', '169.254.64.2']))).toBeUndefined()
    expect(chooseHostAddress('169.254.64.0/31', 'a', new Set())).toBeUndefined()
  })

  it('comes with a MAC that nobody else has', () => {
    const macs = Array.from({ length: 500 }, (_, index) => hostMacAddress(`uid-${index}`))
    expect(new Set(macs).size).toBe(500)
    for (const mac of macs) expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2)
  })
})
