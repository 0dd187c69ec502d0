import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KeyedLists } from './keyed-lists.ts'

test('are lists, whatever is added and removed', () => {
  const step = fc.record({ adds: fc.boolean(), key: fc.constantFrom('k', 'l'), entry: fc.constantFrom('a', 'b', 'c') })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const [lists, model] = [new KeyedLists<string>(), new Map<string, string[]>()]
      for (const { adds, key, entry } of steps) {
        const before = model.get(key) ?? []
        if (adds) lists.add(key, entry)
        else lists.remove(key, entry)
        model.set(key, adds ? [...before, entry] : before.filter((other) => other !== entry))
        for (const each of ['k', 'l']) expect(lists.of(each)).toEqual(model.get(each) ?? [])
      }
    }),
  )
})

test("a list that was handed out is the caller's own", () => {
  const lists = new KeyedLists<string>()
  lists.add('k', 'a')
  lists.add('k', 'b')
  lists.of('k').push('c')
  expect(lists.of('k')).toEqual(['a', 'b'])
})
