import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { LvmThinFormat } from './lvm-thin-format.ts'

const path = process.env.PATH
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'programs-'))
  process.env.PATH = folder
})
afterEach(() => {
  process.env.PATH = path
  rmSync(folder, { recursive: true })
})

/** The only program of this machine is an lvm that does this. */
function installLvm(script: string): void {
  writeFileSync(join(folder, 'lvm'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}

const probe = (): Promise<string | undefined> => new LvmThinFormat().probe('/dev/drive')

it('finds no pool on a node without lvm', async () => {
  expect(await probe()).toBeUndefined()
})

it('finds no pool where lvm finds no volume group, and the pool where it does', async () => {
  const report = (...pv: object[]): string => `echo '${JSON.stringify({ report: [{ pv }] })}'`
  installLvm(report())
  expect(await probe()).toBeUndefined()
  installLvm(report({ vg_name: 'cbn-p1', vg_tags: 'carbonado.ready' }))
  expect(await probe()).toBe('p1')
})

it.each([
  ['fails', 'echo "/run/lock/lvm: mkdir failed" >&2; exit 5', /exit code 5/],
  ['is killed', 'kill -9 $$', /exit code null/],
  ['says half of it', `echo '{ "report": ['`, /JSON/],
])('does not take a drive for one without a pool when lvm %s', async (_name, script, problem) => {
  installLvm(script)
  await expect(probe()).rejects.toThrow(problem)
})
