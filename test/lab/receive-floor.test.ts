import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { liveEndpoints, liveOf, listen, measure, send, stop } from '../../lab/demo/traffic.ts'
import { enough, floor, FloodedLab, rate } from '../support/flooded-lab.ts'

let place: FloodedLab

beforeAll(async () => {
  place = await FloodedLab.up()
})
afterEach(() => place.calm())
afterAll(() => place.lab.down())

test('a gold receiver has its floor against floods from two nodes, and limits are lifted when they end', async () => {
  await place.flood()
  expect(await place.heldBy('n2')).toMatchObject([{ receivingNode: 'n1', macAddress: expect.any(String) }])
  expect(await measure(place.source, place.gold, 5201, 3)).toBeGreaterThan(enough)
  const { receive } = await liveOf(place.lab, place.gold)
  expect(receive).toMatchObject({ promised: floor })
  expect(receive!.windows.withDemand).toBeGreaterThanOrEqual(2)
  expect(receive!.windows.attained).toBeGreaterThanOrEqual(receive!.windows.withDemand - 1)
  await Promise.all(place.floods.map((flood) => stop(flood).catch(() => {})))
  await sleep(1500)
  expect([await place.heldBy('n2'), await place.heldBy('n3')]).toEqual([[], []])
}, 60_000)

test('what endpoints of one node send to each other stays within the rate of its link, floors first', async () => {
  send(place.floods[2], place.sink, 5214, '-u', '-b', '2G', '-l', '1400')
  await sleep(3000)
  const alone = (await liveEndpoints(place.lab, 'n1')).reduce((sum, { rates }) => sum + rates.received, 0)
  expect(alone).toBeLessThan(rate)
  expect(alone).toBeGreaterThan(rate * 0.8)
  expect(await measure(place.source, place.gold, 5202, 2)).toBeGreaterThan(enough)
}, 60_000)

test('a flood from outside, which cannot be held back, is told', async () => {
  const host = await place.lab.addHost({ name: 'outside', vlan: 100, address: '10.30.0.250/24' })
  await listen(place.sink, [5215])
  const flood = host.exec([
    'iperf3',
    '-c',
    place.sink.address,
    '-p',
    '5215',
    '-t',
    '8',
    '-u',
    '-b',
    '190M',
    '-l',
    '1400',
  ])
  flood.catch(() => {}) // its report may be lost in its own flood
  const problems = async (): Promise<object> =>
    place.lab.store.getJson('/apis/carbonado.io/v1alpha1/nodes/n1/proxy/v1/check')
  const told = { reason: 'OutsideTrafficAboveFloors', message: expect.stringContaining('from outside'), remedy: expect.any(String) } // prettier-ignore
  await expect.poll(problems, { timeout: 8_000, interval: 300 }).toEqual({ problems: expect.arrayContaining([told]) })
  await flood.catch(() => {})
}, 60_000)
