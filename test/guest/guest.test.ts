import { globSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runGuest } from './guest.ts'

/**
 * Runs every `*.guest.ts` of this folder in one virtual machine and shows their tests here one by one. GUEST_FILES, a
 * comma-separated list of names, runs only these.
 */
const wanted = process.env.GUEST_FILES?.split(',')
const testFiles = globSync(`${import.meta.dirname}/*.guest.ts`)
  .filter((file) => wanted === undefined || wanted.some((name) => file.endsWith(`/${name}.guest.ts`)))
  .sort()

describe('in a virtual machine', async () => {
  const outcome = await runGuest(testFiles, { deadline: 240_000 })
  const end = outcome.console.trimEnd().split('\n').slice(-60).join('\n')
  if (process.env.GUEST_CONSOLE !== undefined) console.log(outcome.console)

  it('it runs to its end', () => expect(outcome.crash, `${outcome.crash}; end of its console:\n${end}`).toBeUndefined())

  describe.each(outcome.files)('$file', ({ tests, exitCode }) => {
    it('runs to its end', () =>
      expect({ exitCode, tests: tests.length > 0 }, end).toEqual({ exitCode: 0, tests: true }))
    for (const { name, error, milliseconds } of tests) {
      it(`${name} (${milliseconds} ms in it)`, () => {
        if (error !== undefined) throw new Error(error)
      })
    }
  })
})
