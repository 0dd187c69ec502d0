import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { mountUsers } from './mount-users.ts'

test('who works in a filesystem is among its users, and no longer once it has gone', async () => {
  const child = spawn('sleep', ['60'], { cwd: '/dev/shm', stdio: 'ignore' })
  await once(child, 'spawn')
  await expect.poll(() => mountUsers('/dev/shm')).toContain(`sleep (${child.pid})`)
  child.kill()
  await once(child, 'exit')
  expect(mountUsers('/dev/shm').join()).not.toContain(`(${child.pid})`)
})

test('a path that is not there has no users', () => {
  expect(mountUsers('/dev/shm/nothing')).toEqual([])
})
