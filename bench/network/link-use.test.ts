import { expect, it } from 'vitest'
import { linkUse } from './link-use.ts'

const reading = (at: number, bytes: number, frames: number) => ({ at, bytes, frames, drops: 0 })

it('counts preamble, checksum, gap and tag of every frame', () => {
  // 1 Gbit/s of full frames: 1510 bytes counted, 1538 on the wire
  const frames = 1e9 / 8 / 1538
  expect(linkUse(reading(500, 7, 3), reading(1500, 7 + frames * 1510, 3 + frames), 1e9)).toBeCloseTo(1, 9)
})
