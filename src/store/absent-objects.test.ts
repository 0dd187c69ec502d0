import { expect, test } from 'vitest'
import { PerfTier } from '../api/index.ts'
import { Conflict, InvalidInput, NotFound, Unavailable } from '../base/index.ts'
import { findObject, ignoreNotFound, isStale } from './absent-objects.ts'

const tier = { metadata: { name: 'gold' }, spec: {} }

test.each([
  ['what there is', () => Promise.resolve(tier), tier],
  ['undefined for what there is not', () => Promise.reject(new NotFound('there is no PerfTier gold')), undefined],
])('finding answers %s', async (_what, get, found) => {
  expect(await findObject({ get: get as never }, PerfTier, { name: 'gold' })).toBe(found)
})

test.each([new Unavailable('no answer'), new Error('a bug')])(
  'finding nothing is not the same as %s',
  async (error) => {
    await expect(findObject({ get: () => Promise.reject(error) }, PerfTier, { name: 'gold' })).rejects.toBe(error)
    expect(() => ignoreNotFound(error)).toThrow(error)
  },
)

test('what was changed or went away meanwhile is looked at again, nothing else is', () => {
  const errors = [
    new Conflict('changed'),
    new NotFound('gone'),
    new InvalidInput('wrong'),
    new Unavailable('no answer'),
  ]
  expect(errors.map(isStale)).toEqual([true, true, false, false])
})
