import { describe, expect, test } from 'vitest'
import { CarbonadoError, type ErrorCode } from '../../base/index.ts'
import { errorOf, statusOf } from './status.ts'

const httpCodes: Record<ErrorCode, number> = {
  InvalidInput: 400,
  NotFound: 404,
  Conflict: 409,
  Exhausted: 409,
  Expired: 410,
  Forbidden: 403,
  Unavailable: 503,
  Internal: 500,
}

test.each(Object.entries(httpCodes))('%s is HTTP %i and comes back as it was', (code, httpCode) => {
  const error = new CarbonadoError(code as ErrorCode, 'what', { remedy: 'do', details: { free: 3 } })
  const status = JSON.parse(JSON.stringify(statusOf(error))) as ReturnType<typeof statusOf>
  expect(status).toMatchObject({ kind: 'Status', status: 'Failure', code: httpCode, message: 'what' })
  const back = errorOf(status.code, status)
  expect(back).toMatchObject({ code, message: 'what', remedy: 'do', details: { free: 3 } })
})

test.each([
  ['Conflict', 'AlreadyExists', 409],
  ['Forbidden', 'Unauthorized', 401],
  ['InvalidInput', 'MethodNotAllowed', 405],
  ['InvalidInput', 'UnsupportedMediaType', 415],
])('%s may mean %s', (code, reason, httpCode) => {
  const status = statusOf(new CarbonadoError(code as ErrorCode, 'what', { details: { reason } }))
  expect(status).toMatchObject({ code: httpCode, reason })
})

test('wrong fields make 422 with causes', () => {
  const fields = [{ field: 'spec.vlan', message: 'too large' }]
  const status = statusOf(new CarbonadoError('InvalidInput', 'what', { details: { fields } }))
  expect(status).toMatchObject({ code: 422, reason: 'Invalid', details: { causes: fields } })
})

describe('what other servers say', () => {
  test.each([
    [400, 'InvalidInput'],
    [401, 'Forbidden'],
    [403, 'Forbidden'],
    [404, 'NotFound'],
    [405, 'InvalidInput'],
    [409, 'Conflict'],
    [410, 'Expired'],
    [415, 'InvalidInput'],
    [422, 'InvalidInput'],
    [429, 'Unavailable'],
    [500, 'Internal'],
    [502, 'Unavailable'],
    [503, 'Unavailable'],
    [504, 'Unavailable'],
  ])('HTTP %i is %s, with or without a Status', (httpCode, code) => {
    expect(errorOf(httpCode, undefined).code).toBe(code)
    expect(errorOf(httpCode, { kind: 'Status', message: 'm', details: {} })).toMatchObject({ code, message: 'm' })
  })

  test('a forged code is not believed', () => {
    const details = { carbonado: { code: 'constructor' } }
    expect(errorOf(404, { kind: 'Status', message: 'm', details }).code).toBe('NotFound')
  })

  test('a version from the future means that the server was set back', () => {
    const causes = [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }]
    expect(errorOf(504, { kind: 'Status', details: { causes } }).code).toBe('Expired')
  })
})
