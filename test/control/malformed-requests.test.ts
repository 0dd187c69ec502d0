import { expect, it } from 'vitest'
import { fuzzRest } from '../support/rest-fuzz.ts'

it('malformed requests get well-formed errors', async () => {
  const tally = await fuzzRest(15_000)
  console.log(JSON.stringify(tally))
  expect(Object.keys(tally.codes).length).toBeGreaterThan(8)
})
