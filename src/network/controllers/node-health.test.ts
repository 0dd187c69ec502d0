import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Event, Node } from '../../api/index.ts'
import { ControlFixture, createNode, eventually } from './control-fixture.ts'
import { readiness } from './node-health.ts'

describe('readiness', () => {
  it.each([
    [undefined, false, 'AgentNeverSeen'],
    [0, true, 'AgentAlive'],
    [29_999, true, 'AgentAlive'],
    [30_000, false, 'HeartbeatsMissed'],
  ])('after a silence of %s ms is %s', (silence, state, reason) => {
    expect(readiness(silence)).toMatchObject({ state, reason })
  })
})

const agent = { address: 'n1:7443', version: '0', linkRate: 1e9, mtu: 1500, carrier: true, problems: [] }

async function beat(control: ControlFixture, heartbeat: string): Promise<void> {
  const patch = { status: { agent: { ...agent, heartbeat } } }
  await control.store.patch(Node, { name: 'n1' }, patch, { subresource: 'status' })
  await pause(30) // control notes when it hears of a beat
}

async function readyBecomes(control: ControlFixture, state: boolean): Promise<NonNullable<Node['status']>['ready']> {
  return eventually(async () => {
    const ready = (await control.store.get(Node, { name: 'n1' })).status?.ready
    return ready?.state === state ? ready : undefined
  })
}

describe('a node', () => {
  it('is ready while its heartbeat changes, whatever its clock says, and events tell of changes', async () => {
    let now = Date.parse('2030-01-01T00:00:00Z')
    await using control = await ControlFixture.start({ now: () => now, elapsed: () => now })
    await createNode(control.store)
    expect(await readyBecomes(control, false)).toMatchObject({ reason: 'AgentNeverSeen' })
    await beat(control, '2030-01-01T00:00:00.000Z')
    expect(await readyBecomes(control, true)).toMatchObject({ since: '2030-01-01T00:00:00.000Z' })
    now += 20_000
    await beat(control, '1999-01-01T00:00:00.000Z') // the node's clock went back
    now += 29_000
    await control.store.patch(Node, { name: 'n1' }, { metadata: { labels: { looked: 'again' } } })
    await pause(30)
    await readyBecomes(control, true)
    now += 1_000
    await control.store.patch(Node, { name: 'n1' }, { metadata: { labels: { looked: 'once-more' } } })
    expect(await readyBecomes(control, false)).toMatchObject({ reason: 'HeartbeatsMissed' })
    await beat(control, '1999-01-01T00:00:40.000Z')
    await readyBecomes(control, true)
    const told = await eventually(async () => {
      const { items } = await control.store.list(Event)
      const counts = items.map(({ reason, series }) => `${reason} ${series?.count ?? 1}`)
      return counts.includes('NodeReady 2') ? counts.sort() : undefined
    })
    expect(told).toEqual(['NodeNotReady 1', 'NodeReady 2'])
  })

  it('stays what it is when the clock of control jumps', async () => {
    let [now, elapsed] = [Date.parse('2030-01-01T00:00:00Z'), 1_000]
    await using control = await ControlFixture.start({ now: () => now, elapsed: () => elapsed })
    await createNode(control.store)
    await beat(control, '2030-01-01T00:00:00.000Z')
    await readyBecomes(control, true)
    const look = async (text: string): Promise<void> => {
      await control.store.patch(Node, { name: 'n1' }, { metadata: { labels: { looked: text } } })
      await pause(30)
    }
    now += 3_600_000
    await look('an-hour-later')
    await readyBecomes(control, true)
    now -= 7_200_000
    elapsed += 30_000
    await look('after-thirty-seconds')
    await readyBecomes(control, false)
  })

  it('notices by itself that beats are missed', async () => {
    let now = Date.now()
    await using control = await ControlFixture.start({ now: () => now, elapsed: () => now })
    await createNode(control.store)
    // all but 100 ms of its patience are over when it is heard first
    await beat(control, new Date(now - 29_900).toISOString())
    await readyBecomes(control, true)
    now += 110
    await readyBecomes(control, false)
  })

  it('that fell silent stays not ready over a restart of control', async () => {
    let now = Date.now()
    await using control = await ControlFixture.start({ now: () => now, elapsed: () => now })
    await createNode(control.store)
    await beat(control, new Date(now - 60_000).toISOString())
    await readyBecomes(control, false)
    await control.restart()
    await pause(30)
    await readyBecomes(control, false)
    now += 1
    await beat(control, new Date(now).toISOString())
    await readyBecomes(control, true)
  })
})
