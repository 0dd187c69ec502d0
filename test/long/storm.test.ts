import './own-lab.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { severalInterfaces } from '../support/sandboxes.ts'
import { runStorm } from '../support/storm.ts'

let lab: Lab
const others = ['second', 'third', 'fourth']
const four = severalInterfaces(
  { network: 'blue' },
  { network: 'second', perfTier: 'shaped' },
  { network: 'third' },
  { network: 'fourth' },
)

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/16', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['network', 'create', 'both', '-s', '10.40.0.0/16,fd00:40::/64', '-v', '140'])
  for (const [index, name] of others.entries()) {
    await lab.dctl(['network', 'create', name, '-s', `10.${51 + index}.0.0/16`, '-v', String(151 + index)])
  }
  await lab.dctl(['perf-tier', 'create', 'shaped', '-b', '1M', '-B', '100M'])
})
afterAll(() => lab.down())

it(
  '10 000 ADD and DEL, of one interface and of four, with 200 kills at random moments leak and double nothing',
  { timeout: 900_000 },
  async () => {
    const staticEndpoints = ['s1', 's2', 's3', 's4']
    for (const name of staticEndpoints) await lab.dctl(['endpoint', 'create', name, '--network', 'blue'])
    const tally = await runStorm(lab, {
      operations: 10_000,
      kills: 200,
      driversPerNode: 4,
      wishes: [{ network: 'blue' }, { network: 'blue', perfTier: 'shaped' }, { network: 'both' }, four, four],
      staticEndpoints,
      powerFailures: 0.1,
    })
    console.log(JSON.stringify(tally))
    expect(tally.added).toBeGreaterThan(1_000)
    expect(tally.kills).toBeGreaterThanOrEqual(200)
    expect(tally.powerFailures).toBeGreaterThan(2)
  },
)
