import { describe, expect, it } from 'vitest'
import { InvalidInput } from '../base/index.ts'
import {
  annotationsFlag,
  collectList,
  durationFlag,
  integerFlag,
  labelsFlag,
  onePerFamily,
  quantityFlag,
} from './flags.ts'

const vlan = integerFlag('--vlan', 1, 4094)
const bandwidth = quantityFlag('--network-bw')
const labels = labelsFlag('--labels')
const timeout = durationFlag('--timeout')

describe('integers', () => {
  it('takes the whole range', () => {
    expect([vlan('1'), vlan('4094'), vlan(' 100 ')]).toEqual([1, 4094, 100])
  })

  it.each(['0', '4095', 'blue', '', '1.5', '-1', '1e3', '0x10', '99999999999999999999'])('refuses VLAN %j', (text) => {
    expect(() => vlan(text)).toThrow(InvalidInput)
    expect(() => vlan(text)).toThrow('--vlan')
  })
})

describe('quantities', () => {
  it.each(['0', '1k', '10K', '0.5G', '2G', '1Gi'])('keeps %s as it was written', (text) => {
    expect(bandwidth(text)).toBe(text)
  })

  it.each(['-5', '10Q', '', 'G', '1 G', '1e400', 'NaN', '99999999999T', '0.5'])('refuses %j', (text) => {
    expect(() => bandwidth(text)).toThrow(InvalidInput)
    expect(() => bandwidth(text)).toThrow('--network-bw')
  })
})

describe('labels', () => {
  it('collects repetitions and commas', () => {
    expect(labels('c=', labels('a=1,example.com/b=x-y'))).toEqual({ a: '1', 'example.com/b': 'x-y', c: '' })
  })

  it.each(['a', '=1', 'a b=1', 'a=b c', '-a=1', `${'k'.repeat(64)}=1`, `a=${'v'.repeat(64)}`, 'a=1=2'])(
    'refuses %j',
    (text) => {
      expect(() => labels(text)).toThrow('is not of the form key=value')
    },
  )

  it('lets annotations hold any text', () => {
    expect(annotationsFlag('note=a, b = c')).toEqual({ note: 'a, b = c' })
    expect(() => annotationsFlag('note')).toThrow(InvalidInput)
  })
})

describe('addresses', () => {
  it('sorts by family', () => {
    expect(onePerFamily('--ip', ['fd00::1', '10.0.0.1'])).toEqual({ 4: '10.0.0.1', 6: 'fd00::1' })
    expect(onePerFamily('--ip', undefined)).toEqual({})
  })

  it.each([['10.0.0'], ['10.0.0.1/24'], ['fe80::1%eth0'], ['x'], ['10.0.0.1', '10.0.0.2']])('refuses %j', (...list) => {
    expect(() => onePerFamily('--ip', list)).toThrow(/--ip/)
  })

  it('splits lists', () => {
    expect(collectList('b, c,', ['a'])).toEqual(['a', 'b', 'c'])
  })
})

describe('durations', () => {
  it.each([
    ['30', 30_000],
    ['30s', 30_000],
    ['1.5s', 1_500],
    ['500ms', 500],
    ['2m', 120_000],
  ])('reads %s', (text, expected) => {
    expect(timeout(text)).toBe(expected)
  })

  it.each(['0', '-1', 's', '30x', '99999h', ''])('refuses %j', (text) => {
    expect(() => timeout(text)).toThrow('--timeout')
  })
})
