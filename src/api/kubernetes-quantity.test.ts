import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { kubernetesQuantity } from './kubernetes-quantity.ts'

const largest = Number.MAX_SAFE_INTEGER

describe('a quantity of Kubernetes', () => {
  it.each<[string | number, number]>([
    [0, 0],
    [1500, 1500],
    ['0', 0],
    ['500M', 500e6],
    ['2k', 2000],
    ['1P', 1e15],
    ['1E', largest],
    ['1Ki', 1024],
    ['1Pi', 2 ** 50],
    ['8Ei', largest],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['1181116006400m', 1_181_116_007],
    ['1.1Gi', 1_181_116_007],
    ['1e6', 1e6],
    ['1E6', 1e6],
    ['12e+3', 12_000],
    ['1500e-3', 2],
    ['1.25e2', 125],
    ['1m', 1],
    ['1u', 1],
    ['1n', 1],
    ['0n', 0],
    ['0.1', 1],
    ['+5', 5],
    ['5.', 5],
    ['.5k', 500],
    ['9007199254740991', largest],
    ['9007199254740992', largest],
    ['9223372036854775807', largest],
  ])('%s is %s units', (text, units) => {
    expect(kubernetesQuantity(text)).toBe(units)
  })

  it.each([
    ['1e999999999', largest],
    ['1e99999999999999999999999999999', largest],
    ['0e999999999', 0],
    ['1e-999999999', 1],
    ['0.000000000000000000000000000000000000000001e99', largest],
    [`${'9'.repeat(40)}e-999`, 1],
  ])('%s, whose power of ten no memory holds, is %s units', (text, units) => {
    expect(kubernetesQuantity(text)).toBe(units)
  })

  it.each([
    ...['', '.', '+', '-1', '-1k', 'k', 'Ki', 'e5', '.e5', '1e', '1e+', '1e1.5', '1K', '1ki', '1mi', '1KiB', '1 k', ' 1', '1\n'],
    ...['1,5', '1.2.3', '0x10', 'NaN', 'Infinity', '1__proto__', '1constructor', '1'.repeat(1_000_000), NaN, -1, Infinity, undefined],
  ])('%j is none', (text) => {
    expect(kubernetesQuantity(text)).toBeUndefined()
  }) // prettier-ignore

  it('is a whole number, or none, whatever the text', () => {
    const alike = fc.stringMatching(/^[+-]?[0-9]{0,30}\.?[0-9]{0,30}([a-zA-Z]{0,2}|[eE][+-]?[0-9]{0,30})$/)
    fc.assert(
      fc.property(fc.oneof(fc.string(), alike), (text) => {
        const units = kubernetesQuantity(text)
        if (units !== undefined) expect(Number.isSafeInteger(units) && units >= 0).toBe(true)
      }),
    )
  })

  it('does not depend on how the same number is written', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 15n), (units) => {
        const spellings = [`${units}`, `${units}000m`, `${units}e0`, `${units}000000e-6`, `${units}.000`, `0.${units}e${`${units}`.length}`] // prettier-ignore
        expect(spellings.map(kubernetesQuantity)).toEqual(spellings.map(() => Number(units)))
      }),
    )
  })
})
