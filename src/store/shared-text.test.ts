import { expect, test } from 'vitest'
import { SharedText } from './shared-text.ts'

test('a value stays what it is, and is frozen through and through', () => {
  const value = { a: 'x', list: ['x', { deep: 'y', none: null, yes: true, n: 1.5 }], long: 'z'.repeat(100) }
  const frozen = new SharedText().frozen(structuredClone(value))
  expect(frozen).toEqual(value)
  expect([frozen, frozen.list, frozen.list[1]].every((each) => Object.isFrozen(each))).toBe(true)
  expect(new SharedText().frozen('text')).toBe('text')
})

test('more different texts than it remembers change nothing', () => {
  const texts = new SharedText()
  const values = Array.from({ length: 10_000 }, (_, index) => texts.frozen({ kind: 'Endpoint', name: `e${index}` }))
  expect(values[9_999]).toEqual({ kind: 'Endpoint', name: 'e9999' })
})
