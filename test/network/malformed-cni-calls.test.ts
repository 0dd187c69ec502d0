import { expect, it } from 'vitest'
import { fuzzCni } from '../support/cni-fuzz.ts'

it('malformed CNI calls get the errors of the specification', async () => {
  const tally = await fuzzCni(10_000)
  console.log(JSON.stringify(tally))
  expect(Object.keys(tally.codes).length).toBeGreaterThan(5)
})
