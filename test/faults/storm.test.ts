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
  for (const [index, name] of others.entries()) {
    await lab.dctl(['network', 'create', name, '-s', `10.${51 + index}.0.0/16`, '-v', String(151 + index)])
  }
  await lab.dctl(['perf-tier', 'create', 'shaped', '-b', '1M', '-B', '100M'])
})
afterAll(() => lab.down())

it('a storm of ADD and DEL, of one interface and of four, with kills at random moments leaks and doubles nothing', async () => {
  for (const name of ['s1', 's2']) await lab.dctl(['endpoint', 'create', name, '--network', 'blue'])
  const tally = await runStorm(lab, {
    operations: 300,
    kills: 10,
    driversPerNode: 3,
    wishes: [{ network: 'blue' }, { network: 'blue', perfTier: 'shaped' }, four],
    staticEndpoints: ['s1', 's2'],
  })
  console.log(JSON.stringify(tally))
  expect(tally.added).toBeGreaterThan(50)
  expect(tally.kills).toBeGreaterThanOrEqual(10)
})
