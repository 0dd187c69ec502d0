import { expect, it } from 'vitest'
import { runGuest } from '../guest.ts'

it('a crash of the virtual machine is told with what its console said, and keeps the results before it', async () => {
  const outcome = await runGuest([`${import.meta.dirname}/../faults/panic.guest.ts`], { deadline: 540_000 })
  expect(outcome.crash).toBe('it stopped before its tests were done')
  expect(outcome.console).toMatch(/Kernel panic - not syncing: sysrq triggered crash/)
  expect(outcome.files).toMatchObject([
    { exitCode: undefined, tests: [{ name: 'is done before the machine crashes' }] },
  ])
})

it('a virtual machine that does not come to its end is ended at its deadline', async () => {
  const outcome = await runGuest([`${import.meta.dirname}/../faults/panic.guest.ts`], { deadline: 1000 })
  expect(outcome.crash).toBe('it was not done within 1 s')
})
