import './own-lab.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { expectNoVolumes, takeVolumesAway, volumeStorm } from '../support/volume-storm.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await lab.dctl(['drive', 'format', '--all', '-y'], { deadline: 60_000 })
})
afterAll(() => lab.down())

it('200 agents and controls killed while volumes come and go: no write is lost, nothing is left', async () => {
  expect(await volumeStorm(lab, { workers: 6, kills: 200 })).toBeGreaterThanOrEqual(200)
  await takeVolumesAway(lab)
  await expectNoVolumes(lab)
})
