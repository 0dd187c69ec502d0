import { Type, type Static } from '@sinclair/typebox'
import { InvalidInput } from '../base/index.ts'

/**
 * A count, a rate in bits per second or a size in bytes: an integer, or a number with a suffix.
 * `k` and `K` both mean 1000, `M` `G` `T` are powers of 1000, `Ki` `Mi` `Gi` `Ti` powers of 1024.
 */
export const Quantity = Type.Union([
  Type.Integer({ minimum: 0 }),
  Type.String({ pattern: '^[0-9]+(\\.[0-9]+)?(k|K|M|G|T|Ki|Mi|Gi|Ti)?$' }),
])
export type Quantity = Static<typeof Quantity>

const factors: Record<string, number> = {
  '': 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

/** Digits, so that nobody makes the parser multiply numbers of a megabyte. */
const longestNumber = 40

/**
 * Parses a quantity to a whole number. Throws InvalidInput that names `what` for anything negative, fractional after
 * scaling, with an unknown suffix, or above 2^53.
 */
export function parseQuantity(value: Quantity | string | number, what = 'quantity'): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$/.exec(String(value).trim())
  const factor = match ? factors[match[2]!] : undefined
  if (!match || factor === undefined || match[1]!.length > longestNumber) {
    throw new InvalidInput(`${what} "${value}" is not a quantity`, {
      remedy:
        'Write a number with one of the suffixes k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti, such as 500M or 2.5G.',
    })
  }
  const scaled = scale(match[1]!, factor)
  if (!Number.isSafeInteger(scaled)) {
    throw new InvalidInput(`${what} "${value}" is not a whole number below 2^53`, {
      remedy: 'Use a smaller number, or one that is whole when its suffix is applied.',
    })
  }
  return scaled
}

/** The product when it is whole, else NaN. In whole numbers: 4.35 * 100 is not 435 in binary fractions. */
function scale(decimal: string, factor: number): number {
  const [whole, fraction = ''] = decimal.split('.') as [string, string?]
  const product = BigInt(whole + fraction) * BigInt(factor)
  const divisor = 10n ** BigInt(fraction.length)
  return product % divisor === 0n ? Number(product / divisor) : NaN
}

/** Writes a number with the largest decimal suffix that keeps up to three digits after the point: 500M, 1.25G. */
export function formatQuantity(value: number): string {
  for (const [suffix, factor] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= factor) return `${Number((value / factor).toFixed(3))}${suffix}`
  }
  return String(value)
}
