import { expect, it } from 'vitest'
import { fuzzPrograms } from '../support/frame-fuzz.ts'

it(
  'a million malformed frames each way pass only under their own MAC and addresses',
  { timeout: 300_000 },
  async () => {
    const tally = await fuzzPrograms(1_000_000)
    console.log(JSON.stringify(tally))
    expect(tally.passed).toBeGreaterThan(50_000)
    expect(tally.delivered).toBeGreaterThan(50_000)
  },
)
