import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressPool } from './address-pool.ts'
import { contains, intersect, sizeOf, subtract, type AddressRange } from './address-range.ts'

const ranges = fc.array(fc.tuple(fc.nat(60), fc.nat(8)), { maxLength: 6 }).map((pairs) => {
  const list: AddressRange[] = []
  for (const [start, length] of pairs) {
    const range = { start: BigInt(start), end: BigInt(start + length) }
    if (list.every((other) => other.end < range.start || other.start > range.end)) list.push(range)
  }
  return list
})
const members = (list: AddressRange[]): bigint[] =>
  Array.from({ length: 80 }, (_, index) => BigInt(index)).filter((value) => contains(list, value))

describe('ranges', () => {
  it('intersect and subtract as sets do', () => {
    fc.assert(
      fc.property(ranges, ranges, (one, other) => {
        const inOther = new Set(members(other))
        expect(members(intersect(one, other))).toEqual(members(one).filter((value) => inOther.has(value)))
        expect(members(subtract(one, other))).toEqual(members(one).filter((value) => !inOther.has(value)))
        expect(sizeOf(subtract(one, other))).toBe(BigInt(members(subtract(one, other)).length))
      }),
    )
  })
})

const step = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ do: 'propose' } as const) },
  { weight: 3, arbitrary: fc.nat(70).map((address) => ({ do: 'release', address: BigInt(address) }) as const) },
  { weight: 2, arbitrary: fc.nat(70).map((address) => ({ do: 'take', address: BigInt(address) }) as const) },
  { weight: 1, arbitrary: ranges.map((list) => ({ do: 'ranges', list }) as const) },
)

describe('AddressPool', () => {
  it('proposes exactly the free addresses, released ones last and in order', () => {
    fc.assert(
      fc.property(
        ranges,
        fc.option(fc.bigInt({ min: 0n, max: 70n }), { nil: undefined }),
        fc.array(step, { maxLength: 120 }),
        (first, after, steps) => {
          const pool = new AddressPool(first, after)
          let current = first
          const taken = new Set<bigint>()
          let released: bigint[] = []
          for (const each of steps) {
            if (each.do === 'propose') {
              const free = members(current).filter((value) => !taken.has(value))
              const untouched = free.filter((value) => !released.includes(value))
              const proposed = pool.propose()
              if (free.length === 0) expect(proposed).toBeUndefined()
              else if (untouched.length > 0) expect(untouched).toContain(proposed)
              else expect(proposed).toBe(released[0])
              if (proposed !== undefined) taken.add(proposed)
              released = released.filter((value) => value !== proposed)
            } else if (each.do === 'take') {
              expect(pool.take(each.address)).toBe(!taken.has(each.address))
              taken.add(each.address)
              released = released.filter((value) => value !== each.address)
            } else if (each.do === 'release') {
              pool.release(each.address)
              if (taken.delete(each.address) && contains(current, each.address)) released.push(each.address)
            } else {
              current = each.list
              pool.setRanges(current)
              released = released.filter((value) => contains(current, value))
            }
            expect(pool.total).toBe(BigInt(members(current).length))
            expect(pool.used).toBe(members(current).filter((value) => taken.has(value)).length)
          }
        },
      ),
      { numRuns: 1500 },
    )
  })

  it('goes on behind the address that was handed out last', () => {
    const pool = new AddressPool([{ start: 1n, end: 4n }], 2n)
    expect([pool.propose(), pool.propose(), pool.propose(), pool.propose(), pool.propose()]).toEqual([
      3n,
      4n,
      1n,
      2n,
      undefined,
    ])
  })

  it('costs no more for a /64 than for a /24', () => {
    const start = 0xfd000030n << 96n
    const pool = new AddressPool([{ start, end: start + 2n ** 64n - 1n }])
    for (let index = 0n; index < 1000n; index += 1n) expect(pool.propose()).toBe(start + index)
    expect(pool.total - BigInt(pool.used)).toBe(2n ** 64n - 1000n)
  })

  it('cycles through the last tenth of a full /16 in constant time', () => {
    const pool = new AddressPool([{ start: 0n, end: 65_535n }])
    for (let index = 0; index < 58_982; index += 1) pool.propose()
    const begin = process.threadCpuUsage()
    for (let round = 0; round < 200_000; round += 1) pool.release(pool.propose()!)
    const { user, system } = process.threadCpuUsage(begin)
    expect((user + system) / 1000).toBeLessThan(2_000) // about 100 ms; a scan would take minutes
  })
})
