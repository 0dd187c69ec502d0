import { expect, test } from 'vitest'
import { Internal, Unavailable } from './errors.ts'
import { exec } from './exec.ts'
import { errorForLog } from './log.ts'

test('what can be expected is logged without its trace of calls, what is a fault of ours with it', () => {
  const away = new Unavailable('no answer', { cause: new Error('connection refused') })
  expect(errorForLog(away)).toEqual({ code: 'Unavailable', message: 'no answer', cause: 'connection refused' })
  for (const fault of [new TypeError('x is not a function'), new Internal('failed')]) {
    expect(errorForLog(fault)).toMatchObject({ stack: expect.stringContaining('log.test.ts') as string })
  }
})

test('a log on a disk that is full does not end the program', async () => {
  const script = `
    import { createLogger } from '${new URL('./log.ts', import.meta.url)}'
    const logger = createLogger('test')
    for (let line = 0; line < 10; line++) logger.error('a line')
    await new Promise((resolve) => setTimeout(resolve, 50))
    console.log('still there')`
  const command = 'exec "$0" --input-type=module --eval "$1" 2> /dev/full'
  expect((await exec(['sh', '-c', command, process.execPath, script])).stdout).toBe('still there\n')
})
