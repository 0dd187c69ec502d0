import { describe, expect, it } from 'vitest'
import { PerfTier } from '../api/index.ts'
import { InformerIndex } from './informer-index.ts'
import type { Informer, InformerChange } from './informer.ts'

function tier(name: string, label?: string): PerfTier {
  return { metadata: { name, uid: `uid-${name}`, ...(label ? { labels: { label } } : {}) }, spec: {} }
}

describe('an index over an informer', () => {
  it('has what was there, follows every change, and forgets empty groups', () => {
    let tell: (change: InformerChange<PerfTier>) => void = () => {}
    const informer = {
      items: () => [tier('a', 'one')],
      onChange(handler: typeof tell) {
        tell = handler
        return () => {}
      },
    } as unknown as Informer<PerfTier>
    const index = new InformerIndex(informer, ({ metadata }) => metadata.labels?.label)
    const names = (label: string): string[] => index.of(label).map(({ metadata }) => metadata.name)
    tell({ type: 'ADDED', object: tier('b', 'one') })
    expect(names('one')).toEqual(['a', 'b'])
    tell({ type: 'MODIFIED', object: tier('a', 'two'), previous: tier('a', 'one') })
    expect([names('one'), names('two')]).toEqual([['b'], ['a']])
    tell({ type: 'MODIFIED', object: tier('a'), previous: tier('a', 'two') })
    tell({ type: 'DELETED', object: tier('b', 'one'), previous: tier('b', 'one') })
    expect([index.countOf('one'), index.countOf('two'), index.of('one')]).toEqual([0, 0, []])
  })
})
