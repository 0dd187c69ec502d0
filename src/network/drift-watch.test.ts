import { beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../base/index.ts'
import { DriftWatch } from './drift-watch.ts'
import type { AttachRequest, Drift } from './engine.ts'

let now: number
let looks: Drift[][]
let suspected: string[][]
let events: string[]
let attachedAgain: string[]
let repairs: number
let watch: DriftWatch

const request = { endpointId: 'a' } as AttachRequest
const repairable = (change: Partial<Drift> = {}): Drift => ({
  ...{ endpointId: 'a', reason: 'FilterMissing', message: 'no program on cbn1', isInside: false },
  repair: async () => void repairs++,
  ...change,
})

beforeEach(() => {
  now = 0
  repairs = 0
  ;[looks, suspected, events, attachedAgain] = [[], [], [], []]
  watch = new DriftWatch({
    nodeName: 'n1',
    engine: {
      findDrift(_requests, suspects) {
        suspected.push([...suspects])
        return looks.shift() ?? []
      },
    },
    attached: () => [{ endpointId: 'a', namespace: 'default', name: 'web', request }],
    attachAgain: (endpointId) => attachedAgain.push(endpointId),
    events: { record: ({ regarding, reason, note }) => events.push(`${regarding.kind} ${regarding.name} ${reason}: ${note}`) },
    logger: silentLogger(),
    now: () => now,
    secondLook: 0,
  })
}) // prettier-ignore

test('what is seen twice is repaired, told and counted', async () => {
  looks = [[repairable()], [repairable()]]
  await watch.tick()
  expect(repairs).toBe(1)
  expect(suspected).toEqual([[], ['a']])
  expect(events).toEqual(['Endpoint web FilterMissing: Repaired: no program on cbn1'])
  expect([...watch.repaired()]).toEqual([['FilterMissing', 1]])
  expect(watch.problems()).toEqual([])
})

test('what a second look does not find was half done, and is nothing', async () => {
  looks = [[repairable()], []]
  await watch.tick()
  expect([repairs, events]).toEqual([0, []])
})

test('what is about the uplink is told of the node', async () => {
  const drift = repairable({ endpointId: undefined, reason: 'ClassesChanged', message: 'eth0 has no classes' })
  looks = [[drift], [drift]]
  await watch.tick()
  expect(events).toEqual(['Node n1 ClassesChanged: Repaired: eth0 has no classes'])
})

test('what follows from a wanted change is done without a word', async () => {
  looks = [[repairable({ isExpected: true })], [repairable({ isExpected: true })]]
  await watch.tick()
  expect([repairs, events, [...watch.repaired()]]).toEqual([1, [], []])
})

test('an interface that has gone is let go of and attached again', async () => {
  looks = [[repairable({ isGone: true })], [repairable({ isGone: true })]]
  await watch.tick()
  expect([repairs, attachedAgain]).toEqual([1, ['a']])
})

test('what cannot be repaired is a problem with what to do, told once a minute, until a look at it finds it gone', async () => {
  const drift = repairable({ repair: undefined, reason: 'InterfaceMoved', message: 'eth0 was renamed' })
  looks = [[drift], [drift]]
  await watch.tick()
  const problem = { reason: 'InterfaceMoved', message: 'endpoint default/web: eth0 was renamed' }
  expect(watch.problems()).toMatchObject([{ ...problem, remedy: expect.stringMatching(/start it again/) }])
  now = 4_000
  await watch.tick() // finds nothing because it does not look there
  expect(watch.problems()).toHaveLength(1)
  now = 6_000
  looks = [[drift], [drift]]
  await watch.tick()
  expect(suspected.at(-2)).toEqual(['a'])
  expect(events).toHaveLength(1)
  now = 61_000
  looks = [[drift], [drift]]
  await watch.tick()
  expect(events).toHaveLength(2)
  now = 67_000
  await watch.tick()
  expect(watch.problems()).toEqual([])
})

test('a repair that fails is a problem with the reason, and tried again', async () => {
  const failing = repairable({ repair: () => Promise.reject(new Error('no memory')) })
  looks = [[failing], [failing], [repairable()], [repairable()]]
  await watch.tick()
  expect(watch.problems()).toMatchObject([{ message: expect.stringContaining('no memory') }])
  await watch.tick()
  expect([repairs, watch.problems()]).toEqual([1, []])
})

test('what a container undoes again and again is left to it for a while; what guards others never is', async () => {
  const both = [repairable(), repairable({ isInside: true, reason: 'RouteMissing', message: 'no default route' })]
  for (let round = 1; round <= 7; round++) {
    looks = [both, both]
    await watch.tick()
    now += 1_000
  }
  expect([...watch.repaired()]).toEqual([
    ['FilterMissing', 7],
    ['RouteMissing', 5],
  ])
  expect(watch.problems()).toMatchObject([
    { reason: 'RouteMissing', message: expect.stringContaining('changed again') },
  ])
  now += 600_000
  looks = [both, both]
  await watch.tick()
  expect(watch.repaired().get('RouteMissing')).toBe(6)
  expect(watch.problems()).toEqual([])
})

test('two at once do not hide each other', async () => {
  const drifts = [repairable(), repairable({ reason: 'EntryChanged', message: 'slot 1', repair: () => Promise.reject(new Error('x')) })]
  looks = [drifts, drifts]
  await watch.tick()
  expect([...watch.repaired().keys(), watch.problems()[0]?.reason]).toEqual(['FilterMissing', 'EntryChanged'])
}) // prettier-ignore
