import { expect, test } from 'vitest'
import { Internal, Unavailable } from './errors.ts'
import { errorForLog } from './log.ts'

test('what can be expected is logged without its trace of calls, what is a fault of ours with it', () => {
  const away = new Unavailable('no answer', { cause: new Error('connection refused') })
  expect(errorForLog(away)).toEqual({ code: 'Unavailable', message: 'no answer', cause: 'connection refused' })
  for (const fault of [new TypeError('x is not a function'), new Internal('failed')]) {
    expect(errorForLog(fault)).toMatchObject({ stack: expect.stringContaining('log.test.ts') as string })
  }
})
