import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Endpoint, type KubeObject } from '../../api/index.ts'
import { compileSelection, fieldOf, wantedField } from '../selector.ts'
import { ObjectTable } from './object-table.ts'

const names = ['a', 'b', 'c', 'd']
const nodes = ['n1', 'n2', undefined]

function endpoint(name: string, nodeName: string | undefined): KubeObject {
  return { metadata: { name, namespace: 'default' }, spec: { networkName: 'blue', nodeName } } as unknown as KubeObject
}

test('whatever happens, selecting by a field finds what looking at every object finds', () => {
  const change = fc.record({
    name: fc.constantFrom(...names),
    to: fc.constantFrom<'gone' | undefined | string>('gone', ...nodes),
    ask: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const table = new ObjectTable()
      const model = new Map<string, KubeObject>()
      for (const { name, to, ask } of changes) {
        const key = `default/${name}`
        if (to === 'gone') {
          table.delete(key)
          model.delete(key)
        } else {
          table.set(key, endpoint(name, to))
          model.set(key, endpoint(name, to))
        }
        if (!ask) continue
        for (const node of ['n1', 'n2', '']) {
          const selection = { fieldSelector: `spec.nodeName=${node}`, namespace: 'default' }
          const wanted = wantedField(Endpoint, selection)
          expect(wanted).toEqual({ path: 'spec.nodeName', value: node })
          const found = table.select(Endpoint, compileSelection(Endpoint, selection), wanted)
          const expected = [...model].filter(([, object]) => fieldOf(object, 'spec.nodeName') === node)
          expect(found.map(({ metadata }) => metadata.name)).toEqual(expected.map(([, o]) => o.metadata.name).sort())
        }
      }
    }),
  )
})

test.each(['', 'spec.nodeName!=n1', 'metadata.name=a'])('"%s" wants no field that is looked up', (fieldSelector) => {
  expect(wantedField(Endpoint, { fieldSelector })).toBeUndefined()
})
