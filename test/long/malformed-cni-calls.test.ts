import { expect, it } from 'vitest'
import { fuzzCni } from '../support/cni-fuzz.ts'

it('a million malformed CNI calls get the errors of the specification, and the agent keeps nothing of them', { timeout: 900_000 }, async () => {
  const tally = await fuzzCni(1_000_000, { untilSettled: true })
  console.log(JSON.stringify(tally))
  expect(Object.keys(tally.codes).length).toBeGreaterThan(5)
}) // prettier-ignore
