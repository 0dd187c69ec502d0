import { expect, it } from 'vitest'
import { pageOf } from './paging.ts'

const name = (entry: string): string => entry
const page = (all: string[], maxEntries: number, startingToken = ''): ReturnType<typeof pageOf<string>> =>
  pageOf(all, name, { maxEntries, startingToken })

it('tells everything once, whatever comes and goes between two pages', () => {
  const first = page(['d', 'b', 'c', 'a'], 2)
  expect(first).toEqual({ entries: ['a', 'b'], nextToken: 'after:b' })
  expect(page(['a', 'c', 'd', 'aa'], 2, first.nextToken)).toEqual({ entries: ['c', 'd'], nextToken: '' })
  expect(page(['b', 'a'], 0)).toEqual({ entries: ['a', 'b'], nextToken: '' })
  expect(page([], 5)).toEqual({ entries: [], nextToken: '' })
})

it('refuses tokens that it never gave, and negative numbers', () => {
  expect(() => page(['a'], 1, 'x')).toThrow(expect.objectContaining({ csiCode: 'ABORTED' }))
  expect(() => page(['a'], -1)).toThrow(expect.objectContaining({ csiCode: 'INVALID_ARGUMENT' }))
})
