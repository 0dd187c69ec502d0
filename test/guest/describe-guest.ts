import { describe, expect, it } from 'vitest'
import { runGuest } from './guest.ts'

/**
 * Runs test files in one virtual machine and shows their tests one by one. Await it at the top of a file. GUEST_FILES, a
 * comma-separated list of names, runs only these; GUEST_CONSOLE shows what the machine's console said.
 */
export async function describeGuest(testFiles: string[], { deadline }: { deadline: number }): Promise<void> {
  const wanted = process.env.GUEST_FILES?.split(',')
  const files = testFiles.filter((file) => wanted?.some((name) => file.endsWith(`/${name}.guest.ts`)) ?? true).sort()
  const outcome = await runGuest(files, { deadline })
  const end = outcome.console.trimEnd().split('\n').slice(-60).join('\n')
  if (process.env.GUEST_CONSOLE !== undefined) console.log(outcome.console)

  describe('in a virtual machine', () => {
    it('it runs to its end', () =>
      expect(outcome.crash, `${outcome.crash}; end of its console:\n${end}`).toBeUndefined())

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
}
