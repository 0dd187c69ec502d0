import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatQuantity, parseQuantity } from './quantity.ts'

describe('parseQuantity', () => {
  test.each([
    [0, 0],
    [1500, 1500],
    ['0', 0],
    ['0.5k', 500],
    ['1.0001M', 1_000_100],
    ['2.50', undefined],
    ['2.0', 2],
    ['4.35K', 4350],
    ['1.1G', 1_100_000_000],
    ['2.5Ki', 2560],
    ['8000T', 8e15],
    [' 10M ', 10_000_000],
  ])('%s is %s', (text, expected) => {
    if (expected === undefined) expect(() => parseQuantity(text)).toThrow()
    else expect(parseQuantity(text)).toBe(expected)
  })

  test.each(['0.0001', '1.0001k', '0.9999', '0.3Ki', '9007199254740992', '10000T', 1e21, 0.5, 1e-7])(
    '%s is refused, for it is not whole or too large',
    (value) => {
      expect(() => parseQuantity(value, 'bandwidth')).toThrow(
        expect.objectContaining({ code: 'InvalidInput', message: expect.stringContaining('bandwidth') as string }),
      )
    },
  )

  test.each(['', 'k', '-1', '+1', '1e3', '1.', '.5', '1 M', '1m', '1KB', '1,5', '0x10', 'NaN', '1'.repeat(100), -1])(
    '"%s" is refused, for it is not a quantity',
    (value) => {
      expect(() => parseQuantity(value)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
    },
  )

  test('reads what formatQuantity writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1000, max: 999_999 }), fc.constantFrom(1, 1e3, 1e6, 1e9), (number, factor) => {
        expect(parseQuantity(formatQuantity(number * factor))).toBe(number * factor)
      }),
    )
  })
})
