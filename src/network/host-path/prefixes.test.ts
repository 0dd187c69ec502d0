import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCidr, sizeOf } from '../addresses/index.ts'
import { prefixesOf } from './prefixes.ts'

describe('prefixes of ranges', () => {
  it('of a subnet without its ends and its gateway', () => {
    const [start, end] = [0x0a1e0002n, 0x0a1e00fen]
    expect(prefixesOf(4, [{ start, end }])).toEqual([
      '10.30.0.2/31', '10.30.0.4/30', '10.30.0.8/29', '10.30.0.16/28', '10.30.0.32/27', '10.30.0.64/26',
      '10.30.0.128/26', '10.30.0.192/27', '10.30.0.224/28', '10.30.0.240/29', '10.30.0.248/30', '10.30.0.252/31',
      '10.30.0.254/32',
    ]) // prettier-ignore
  })

  it('hold exactly the addresses of the ranges, in order', () => {
    const addresses = fc.bigInt({ min: 0n, max: 0xffffffffn })
    fc.assert(
      fc.property(addresses, addresses, (one, other) => {
        const range = one < other ? { start: one, end: other } : { start: other, end: one }
        const found = prefixesOf(4, [range]).map((prefix) => parseCidr(prefix))
        expect(found[0]!.first).toBe(range.start)
        expect(found.at(-1)!.last).toBe(range.end)
        for (const [index, { first }] of found.entries()) if (index > 0) expect(first).toBe(found[index - 1]!.last + 1n)
        expect(sizeOf(found.map(({ first, last }) => ({ start: first, end: last })))).toBe(range.end - range.start + 1n)
        expect(found.length).toBeLessThanOrEqual(62)
      }),
    )
  })
})
