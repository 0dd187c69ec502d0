import { beforeEach, expect, test } from 'vitest'
import type { Condition, Endpoint } from '../api/index.ts'
import { silentLogger } from '../base/index.ts'
import type { DuplicateAddress } from './duplicate-watch.ts'
import { EndpointConditions } from './endpoint-conditions.ts'

let objects: Endpoint[]
let duplicates: DuplicateAddress[]
let isAway: boolean
let now: number
let conditions: EndpointConditions
const mac = '02:00:00:00:00:0a'

beforeEach(() => {
  ;[duplicates, isAway, now] = [[], false, 0]
  objects = ['a', 'b'].map((uid) => ({
    metadata: { name: `name-${uid}`, namespace: 'default', uid, resourceVersion: '7' },
    spec: { networkName: 'blue', isStatic: false },
  }))
  const patch = (_kind: unknown, { name }: { name: string }, { status }: { status: { conditions: Condition[] } }) => {
    if (isAway) return Promise.reject(new Error('control is away'))
    objects = objects.map((each) => (each.metadata.name === name ? { ...each, status: { ...each.status, ...status } } : each))
    return Promise.resolve(objects[0])
  } // prettier-ignore
  conditions = new EndpointConditions({
    store: { patch: patch as never },
    objects: () => objects,
    duplicates: () => duplicates,
    logger: silentLogger(),
    now: () => now,
  })
})

const said = (index: number): Partial<Condition>[] =>
  (objects[index]!.status?.conditions ?? []).map(({ type, status, reason }) => ({ type, status, reason }))
const thief: DuplicateAddress = { endpointId: 'b', namespace: 'default', name: 'name-b', address: mac, macAddress: mac }

test('an endpoint whose MAC somebody else has says so, and says when it is over; others say nothing', async () => {
  await conditions.tick()
  expect([said(0), said(1)]).toEqual([[], []])
  duplicates = [thief]
  await conditions.tick()
  expect([said(0), said(1)]).toEqual([[], [{ type: 'AddressUnique', status: 'False', reason: 'DuplicateMac' }]])
  expect(objects[1]!.status!.conditions![0]!.message).toContain(mac)
  const written = objects[1]
  await conditions.tick()
  expect(objects[1], 'written once').toBe(written)
  duplicates = []
  await conditions.tick()
  expect(said(1)).toEqual([{ type: 'AddressUnique', status: 'True', reason: 'NobodyHeard' }])
})

test('a write that failed is made later, and what an earlier agent wrote is put right', async () => {
  duplicates = [thief]
  isAway = true
  await conditions.tick()
  isAway = false
  await conditions.tick()
  expect(said(1)).toEqual([])
  now = 5_000
  await conditions.tick()
  expect(said(1)).toMatchObject([{ status: 'False' }])
  const other: Condition = { type: 'Other', status: 'True', reason: 'R', message: '', lastTransitionTime: '' }
  objects = objects.map((each) => ({ ...each, status: { conditions: [other, ...(each.status?.conditions ?? [])] } }))
  duplicates = []
  await conditions.tick()
  expect(said(1)).toMatchObject([{ type: 'Other' }, { type: 'AddressUnique', status: 'True' }])
})
