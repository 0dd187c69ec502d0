import { expect, it } from 'vitest'
import { fuzzPrograms } from '../support/frame-fuzz.ts'

it('malformed frames pass only under their own MAC and addresses', { timeout: 60_000 }, async () => {
  const tally = await fuzzPrograms(50_000)
  console.log(JSON.stringify(tally))
  expect(tally.passed).toBeGreaterThan(2_000)
  expect(tally.delivered).toBeGreaterThan(2_000)
})
