import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { liveEndpoints, liveOf, listen, measure, send, stop } from '../../lab/demo/traffic.ts'
import { windowsBetween } from '../../src/guarantee/index.ts'
import { enough, floor, FloodedLab, rate } from '../support/flooded-lab.ts'
import { severalAttempts } from '../support/patience.ts'

let place: FloodedLab

beforeAll(async () => {
  place = await FloodedLab.up()
})
afterEach(() => place.calm())
afterAll(() => place.lab.down())

test('a gold receiver has its floor against floods from two nodes, and limits are lifted when they end', async () => {
  await place.flood()
  const held = [{ receivingNode: 'n1', macAddress: expect.any(String) as string }]
  await expect.poll(() => place.heldBy('n2'), severalAttempts).toMatchObject(held)
  await expect.poll(receivedByGold, severalAttempts).toEqual({
    promised: floor,
    isEnough: true,
    withDemand: expect.toSatisfy((count: number) => count >= 2) as number,
    missed: expect.toBeOneOf([0, 1]) as number, // the first is begun in the middle
  })
  await Promise.all(place.floods.map((flood) => stop(flood).catch(() => {})))
  const allHeld = async (): Promise<unknown> => [await place.heldBy('n2'), await place.heldBy('n3')]
  await expect.poll(allHeld, { timeout: 20_000, interval: 100 }).toEqual([[], []]) // a limit lives for about a second
}, 120_000)

/** What gold receives in a transfer of some seconds, and its windows meanwhile. */
async function receivedByGold(): Promise<object> {
  const { windows: before } = (await liveOf(place.lab, place.gold)).receive!
  const isEnough = (await measure(place.source, place.gold, 5201, 3)) > enough
  const { windows: after, promised } = (await liveOf(place.lab, place.gold)).receive!
  const { withDemand, attained } = windowsBetween(before, after)
  return { promised, isEnough, withDemand, missed: withDemand - attained }
}

test('what endpoints of one node send to each other stays within the rate of its link, floors first', async () => {
  send(place.floods[2], place.sink, 5214, '-u', '-b', '2G', '-l', '1400')
  await sleep(3000)
  const received = async (): Promise<number> =>
    (await liveEndpoints(place.lab, 'n1')).reduce((sum, { rates }) => sum + rates.received, 0)
  expect(await received()).toBeLessThan(rate)
  await expect.poll(received, severalAttempts).toBeGreaterThan(rate * 0.8)
  await expect.poll(() => measure(place.source, place.gold, 5202, 2), severalAttempts).toBeGreaterThan(enough)
}, 120_000)

test('a flood from outside, which cannot be held back, is told', async () => {
  const host = await place.lab.addHost({ name: 'outside', vlan: 100, address: '10.30.0.250/24' })
  await listen(place.sink, [5215])
  const flood = ['iperf3', '-c', place.sink.address, '-p', '5215', '-t', '8', '-u', '-b', '190M', '-l', '1400']
  let isTold = false
  const flooding = (async () => {
    while (!isTold) await host.exec(flood).catch(() => sleep(100)) // its report may be lost in its own flood
  })()
  const problems = async (): Promise<object> =>
    place.lab.store.getJson('/apis/carbonado.io/v1alpha1/nodes/n1/proxy/v1/check')
  const told = { reason: 'OutsideTrafficAboveFloors', message: expect.stringContaining('from outside'), remedy: expect.any(String) } // prettier-ignore
  try {
    await expect.poll(problems, severalAttempts).toEqual({ problems: expect.arrayContaining([told]) })
  } finally {
    isTold = true
  }
  await flooding
}, 120_000)
