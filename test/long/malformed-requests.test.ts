import { expect, it } from 'vitest'
import { fuzzRest } from '../support/rest-fuzz.ts'

it('a million malformed requests get well-formed errors, and control keeps nothing of them', { timeout: 900_000 }, async () => {
  const tally = await fuzzRest(1_000_000)
  console.log(JSON.stringify(tally))
  expect(Object.keys(tally.codes).length).toBeGreaterThan(8)
}) // prettier-ignore
