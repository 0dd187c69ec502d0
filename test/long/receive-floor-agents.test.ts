import '../lab/own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { measure } from '../../lab/demo/traffic.ts'
import { enough, FloodedLab } from '../support/flooded-lab.ts'

let place: FloodedLab

beforeAll(async () => {
  place = await FloodedLab.up()
})
afterEach(() => place.calm())
afterAll(() => place.lab.down())

test('limits hold while the agent of a sending node is dead, and end by themselves when that of the receiving one is', async () => {
  await place.flood()
  const transfer = measure(place.source, place.gold, 5201, 3)
  await sleep(1500)
  await place.lab.killAgent('n3')
  expect(await transfer).toBeGreaterThan(enough)
  await place.lab.startAgent('n3')
  await sleep(1500)
  await place.lab.killAgent('n1')
  expect((await place.heldBy('n3')).length).toBeGreaterThan(0)
  await sleep(2000)
  expect((await place.heldBy('n3')).length, 'long enough for a restart').toBeGreaterThan(0)
  await expect.poll(() => place.heldBy('n3'), { timeout: 12_000, interval: 500 }).toEqual([])
  await place.lab.startAgent('n1')
  await expect.poll(async () => (await place.heldBy('n3')).length, { timeout: 5_000 }).toBeGreaterThan(0)
}, 120_000)
