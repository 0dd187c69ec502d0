import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { exec, type ExecResult } from './exec.ts'

/** Does nothing for some time, and hears nothing. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

test('a child that ended in time has not missed its deadline when this process was too busy to hear of it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-exec-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const run = (what: string): Promise<ExecResult> =>
    exec(['sh', '-c', `: > ${folder}/$$; exec ${what}`], { deadline: 500 })
  const children = [run('head -c 60000 /dev/zero'), run('echo done')] as const
  const hasEnded = (pid: string): boolean => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  block(1500)
  while (readdirSync(folder).length < 2 || !readdirSync(folder).every(hasEnded)) block(50)
  const [large, small] = await Promise.all(children)
  expect(large.stdout).toHaveLength(60_000)
  expect(small.stdout).toBe('done\n')
})

test('a child that has not ended by its deadline is killed', async () => {
  await expect(exec(['sleep', '60'], { deadline: 50 })).rejects.toThrow('sleep 60: missed its deadline')
})

test.each([
  ['that is killed goes on', 'sleep 60 & echo $!; wait'],
  ['that has ended was left behind', 'sleep 60 & echo $!'],
])('what a child %s, and keeps its output, cannot hold a deadline open', { timeout: 90_000 }, async (_what, script) => {
  for (const deadline of [300, 3_000, 20_000]) {
    const error = await exec(['sh', '-c', script], { deadline }).catch((error) => error)
    expect(error.message).toContain('missed its deadline')
    const [pid] = /^\d+(?=\n$)/.exec(error.stdout) ?? [] // none when the shell did not come to say it
    if (!pid) continue
    process.kill(Number(pid)) // throws if it is not there
    return
  }
  expect.fail('the shell did not start anything')
})

test('a program that cannot be started for want of file descriptors is an error of this call', async () => {
  const script = `
    import { openSync } from 'node:fs'
    import { exec } from '${new URL('./exec.ts', import.meta.url)}'
    await exec(['true'])
    try { for (;;) openSync('/dev/null') } catch {}
    process.exitCode = await exec(['true']).then(() => 1, (error) => (error.message.includes('EMFILE') ? 42 : 2))`
  const command = 'ulimit -n 64; exec "$0" --input-type=module --eval "$1"'
  await expect(exec(['sh', '-c', command, process.execPath, script])).rejects.toMatchObject({ exitCode: 42 })
})
