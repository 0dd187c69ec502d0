import { describe, expect, it } from 'vitest'
import { jsonReport } from './report.ts'
import { runSuite } from './runner.ts'
import { stage, type Suite } from './suite.ts'

const context = { quick: false, progress: () => {} }
const anything = /./
const row = (name: string) => ({ name, unit: 'ratio', target: { atLeast: 1 } })

function suiteOf(...stages: Suite['stages']): Suite {
  return { name: 'test', stages, cleanUp: async () => {} }
}

describe('runSuite', () => {
  it('says why a row could not run, counts it as not met, and goes on with the others', async () => {
    const closed: string[] = []
    const suite = suiteOf(
      stage({
        name: 'place',
        open: async () => 'place',
        close: async (place) => void closed.push(place),
        groups: [
          { rows: [row('broken')], measure: () => Promise.reject(new Error('no tool')) },
          { rows: [row('good')], measure: async () => ({ good: { value: 1.0004 } }) },
        ],
      }),
      stage({ name: 'closed', open: () => Promise.reject(new Error('no lab')), close: async () => {}, groups: [
        { rows: [row('placeless')], measure: async () => ({ placeless: { value: 1 } }) },
      ] }), // prettier-ignore
    )
    const rows = await runSuite(suite, anything, context)
    expect(rows.map(({ name, value, met, detail }) => [name, value, met, detail])).toEqual([
      ['broken', null, false, 'could not run: no tool'],
      ['good', 1, true, ''],
      ['placeless', null, false, 'could not run: no lab'],
    ])
    expect(closed).toEqual(['place'])
  })

  it('does not let rounding meet a target', async () => {
    const measure = async () => ({ near: { value: 0.99999 } })
    const suite = suiteOf(stage({ name: 'p', open: async () => {}, close: async () => {}, groups: [{ rows: [row('near')], measure }] })) // prettier-ignore
    expect(await runSuite(suite, anything, context)).toMatchObject([{ value: 1, met: false }])
  })

  it('opens no place that no wanted row needs', async () => {
    const suite = suiteOf(stage({ name: 'p', open: () => Promise.reject(new Error('opened')), close: async () => {}, groups: [{ rows: [row('a')], measure: async () => ({}) }] })) // prettier-ignore
    expect(await runSuite(suite, /b/, context)).toEqual([])
  })
})

describe('jsonReport', () => {
  it('is one object with rows, and says when the run was quick', async () => {
    const suite = suiteOf(stage({ name: 'p', open: async () => {}, close: async () => {}, groups: [{ rows: [row('a')], measure: async () => ({ a: { value: 2, detail: 'd' } }) }] })) // prettier-ignore
    const rows = await runSuite(suite, anything, context)
    const expected = { name: 'a', value: 2, unit: 'ratio', comparedWith: null, target: '>= 1', met: true, detail: 'd' }
    expect(JSON.parse(jsonReport(rows, false))).toEqual({ rows: [expected] })
    expect(JSON.parse(jsonReport(rows, true))).toEqual({ quick: true, rows: [expected] })
  })
})
