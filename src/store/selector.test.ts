import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Endpoint, type KubeObject } from '../api/index.ts'
import { CarbonadoError } from '../base/index.ts'
import { compileSelection, labelProblem, parseFieldSelector, selectorViewOf } from './selector.ts'

const endpoint = {
  metadata: { name: 'e1', namespace: 'shop', labels: { app: 'web', tier: '3', 'example.com/x': '', constructor: 'a' } },
  spec: { networkName: 'blue', isStatic: false },
} as KubeObject

function selected(labelSelector: string, fieldSelector = ''): boolean {
  const matcher = compileSelection(Endpoint, { labelSelector, fieldSelector })
  return matcher?.(selectorViewOf(Endpoint, endpoint)) ?? true
}

describe('label selectors', () => {
  test.each([
    ['', true],
    ['app=web', true],
    ['app==web', true],
    [' app = web , tier in ( 2 , 3 ) ', true],
    ['app=api', false],
    ['app!=api', true],
    ['missing!=api', true],
    ['app notin (api,db)', true],
    ['app notin (web)', false],
    ['app', true],
    ['!app', false],
    ['! missing', true],
    ['example.com/x', true],
    ['example.com/x=', true],
    ['tier>2', true],
    ['tier<3', false],
    ['app>2', false],
    ['constructor=a', true],
    ['toString', false],
  ])('"%s" selects: %s', (selector, expected) => {
    expect(selected(selector)).toBe(expected)
  })

  test.each(['=a', 'a=b=c', 'a in', 'a in (b', 'a in b)', 'a,,b', ',', 'a b', '!', 'a>x', 'a=()', 'a/b/c=d', 'a=-b'])(
    '"%s" is refused',
    (selector) => {
      expect(() => selected(selector)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
    },
  )
})

describe('field selectors', () => {
  test.each([
    ['metadata.name=e1', true],
    ['metadata.name!=e1', false],
    ['metadata.namespace==shop,spec.networkName=blue', true],
    ['spec.nodeName=', true],
    ['spec.nodeName!=n1', true],
  ])('"%s" selects: %s', (selector, expected) => {
    expect(selected('', selector)).toBe(expected)
  })

  test.each(['spec.isStatic=true', 'metadata.name', 'metadata.name=a=b', '=', '__proto__=x', 'metadata.name=a\\b'])(
    '"%s" is refused',
    (selector) => {
      expect(() => selected('', selector)).toThrow(expect.objectContaining({ code: 'InvalidInput' }))
    },
  )

  test('takes escaped commas, equals signs and backslashes', () => {
    expect(parseFieldSelector('metadata.name=a\\,b\\=c\\\\,spec.nodeName=n', Endpoint)).toEqual([
      { key: 'metadata.name', operator: 'in', values: ['a,b=c\\'] },
      { key: 'spec.nodeName', operator: 'in', values: ['n'] },
    ])
  })
})

test('anything at all either compiles or is InvalidInput, and quickly', () => {
  const piece = fc.constantFrom('a', 'in', ' ', '(', ')', ',', '=', '!', '<', '\\', 'notin', '\n', 'é')
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join('')),
      (text) => {
        for (const selection of [{ labelSelector: text }, { fieldSelector: text }]) {
          try {
            compileSelection(Endpoint, selection)
          } catch (error) {
            expect((error as CarbonadoError).code).toBe('InvalidInput')
          }
        }
      },
    ),
    { numRuns: 2000 },
  )
  const begin = process.threadCpuUsage()
  for (const part of ['a,', '(', 'a in (', '\\', ' ', '!', 'a ']) {
    for (const selection of [{ labelSelector: part.repeat(4000) }, { fieldSelector: part.repeat(4000) }]) {
      expect(() => compileSelection(Endpoint, selection)).not.toThrow(RangeError)
    }
  }
  const { user, system } = process.threadCpuUsage(begin)
  expect((user + system) / 1000).toBeLessThan(2_000)
})

test('labels that selectors could not name are a problem', () => {
  expect(labelProblem({ app: 'web', 'a.b/c': '' })).toBeUndefined()
  expect(labelProblem({ 'a b': 'c' })).toContain('label key')
  expect(labelProblem({ a: 'b c' })).toContain('label value')
  expect(labelProblem({ a: 'x'.repeat(64) })).toContain('label value')
})
