import koffi from 'koffi'
import { expect, test } from 'vitest'
import { giveMemoryBack } from './free-memory.ts'

const library = koffi.load(null)
const allocate = library.func('void *malloc(size_t size)')
const fill = library.func('void *memset(void *place, int value, size_t size)')
const release = library.func('void free(void *place)')

test('memory that is free below some that is used goes back to the system', async () => {
  const size = 64_000 // below the size from which the C library asks the system for each
  const places = Array.from({ length: 1000 }, () => fill(allocate(size), 1, size) as unknown)
  for (const [index, place] of places.entries()) if (index % 10 !== 0) release(place)
  const before = process.memoryUsage.rss()
  if (!(await giveMemoryBack())) return // a C library without it
  expect(before - process.memoryUsage.rss()).toBeGreaterThan(20e6)
  for (const [index, place] of places.entries()) if (index % 10 === 0) release(place)
})
