import { describe, expect, it } from 'vitest'
import { formatAge } from './age.ts'
import { formatLabels, renderFields, renderTable, type Column } from './table.ts'

const columns: Column<{ name: string; note?: string }>[] = [
  { header: 'NAME', value: ({ name }) => name },
  { header: 'NOTE', value: ({ note }) => note },
  { header: 'LENGTH', value: ({ name }) => name.length, wide: true },
]

describe('tables', () => {
  it('aligns columns and leaves no cell empty', () => {
    expect(renderTable(columns, [{ name: 'long-name', note: 'x' }, { name: 'a' }], { wide: true })).toBe(
      ['NAME       NOTE  LENGTH', 'long-name  x     9', 'a          -     1'].join('\n'),
    )
  })

  it('shows wide columns only when asked to', () => {
    expect(renderTable(columns, [], { wide: false })).toBe('NAME  NOTE')
  })

  it('keeps a row on one line', () => {
    expect(renderTable(columns, [{ name: 'a', note: 'one\n  two' }], { wide: false }).split('\n')).toHaveLength(2)
  })

  it('lays out fields', () => {
    expect(
      renderFields([
        ['Name', 'a'],
        ['Other', undefined],
      ]),
    ).toBe('Name:   a\nOther:  -')
  })

  it('sorts labels', () => {
    expect(formatLabels({ b: '2', a: '1' })).toBe('a=1,b=2')
    expect(formatLabels(undefined)).toBe('')
  })
})

describe('ages', () => {
  const now = new Date('2026-01-10T00:00:00Z')
  it.each([
    ['2026-01-09T23:59:18Z', '42s'],
    ['2026-01-09T23:55:00Z', '5m'],
    ['2026-01-09T20:40:00Z', '3h20m'],
    ['2026-01-09T20:00:00Z', '4h'],
    ['2025-12-29T00:00:00Z', '12d'],
    ['2026-01-10T00:00:05Z', '0s'],
  ])('of %s is %s', (since, expected) => {
    expect(formatAge(since, now)).toBe(expected)
  })

  it('is unknown for no time and for nonsense', () => {
    expect(formatAge(undefined, now)).toBeUndefined()
    expect(formatAge('yesterday', now)).toBeUndefined()
  })
})
