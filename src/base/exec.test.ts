import { expect, test } from 'vitest'
import { exec } from './exec.ts'

/** Does nothing for some time, and hears nothing. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

test('a child that ended in time has not missed its deadline when this process was too busy to hear of it', async () => {
  const large = exec(['sh', '-c', 'head -c 60000 /dev/zero'], { deadline: 500 })
  const small = exec(['echo', 'done'], { deadline: 500 })
  block(1500)
  expect((await small).stdout).toBe('done\n')
  expect((await large).stdout).toHaveLength(60_000)
})

test('a child that has not ended by its deadline is killed', async () => {
  await expect(exec(['sleep', '60'], { deadline: 50 })).rejects.toThrow('sleep 60: missed its deadline')
})

test('also when a child of it goes on and keeps its output', async () => {
  const error = await exec(['sh', '-c', 'sleep 60 & echo $!; wait'], { deadline: 300 }).catch((error) => error)
  expect(error.message).toContain('missed its deadline')
  process.kill(Number(error.stdout)) // throws if it is not there
})

test('what a child left behind keeps the output of one that ended', async () => {
  const error = await exec(['sh', '-c', 'sleep 60 & echo $!'], { deadline: 300 }).catch((error) => error)
  expect(error.message).toContain('missed its deadline')
  process.kill(Number(error.stdout))
})
