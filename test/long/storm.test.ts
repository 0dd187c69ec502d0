import './own-lab.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { runStorm } from '../support/storm.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/16', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['network', 'create', 'both', '-s', '10.40.0.0/16,fd00:40::/64', '-v', '140'])
  await lab.dctl(['perf-tier', 'create', 'shaped', '-b', '1M', '-B', '100M'])
})
afterAll(() => lab.down())

it('10 000 ADD and DEL with 200 kills at random moments leak and double nothing', { timeout: 900_000 }, async () => {
  const staticEndpoints = ['s1', 's2', 's3', 's4']
  for (const name of staticEndpoints) await lab.dctl(['endpoint', 'create', name, '--network', 'blue'])
  const tally = await runStorm(lab, {
    operations: 10_000,
    kills: 200,
    driversPerNode: 4,
    wishes: [{ network: 'blue' }, { network: 'blue', perfTier: 'shaped' }, { network: 'both' }],
    staticEndpoints,
    powerFailures: 0.1,
  })
  console.log(JSON.stringify(tally))
  expect(tally.added).toBeGreaterThan(1_000)
  expect(tally.kills).toBeGreaterThanOrEqual(200)
  expect(tally.powerFailures).toBeGreaterThan(2)
})
