import { describe, expect, it } from 'vitest'
import { Node } from '../../api/index.ts'
import { isWithin } from '../host-path/host-address.ts'
import { ControlFixture, createNode, eventually } from './control-fixture.ts'

const agent = { address: 'n:7443', version: '0', linkRate: 1e9, mtu: 1500, carrier: true, problems: [] }
const range = '169.254.64.0/29'

async function report({ store }: ControlFixture, name: string, hostAddresses?: string): Promise<void> {
  const heartbeat = new Date().toISOString()
  const patch = { status: { agent: { ...agent, heartbeat, ...(hostAddresses ? { hostAddresses } : {}) } } }
  await store.patch(Node, { name }, patch, { subresource: 'status' })
}

const addressOf = async ({ store }: ControlFixture, name: string): Promise<string | undefined> =>
  (await store.get(Node, { name })).status?.hostAddress

const given = (control: ControlFixture, name: string): Promise<string> => eventually(() => addressOf(control, name))

describe('addresses by which nodes are reached from pods', () => {
  it('are given to nodes that ask for one, no two the same, and stay over a restart', async () => {
    await using control = await ControlFixture.start()
    const names = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6']
    for (const name of names) await createNode(control.store, name)
    await createNode(control.store, 'other')
    await Promise.all(names.map((name) => report(control, name, range)))
    await report(control, 'other')
    const before = await Promise.all(names.map((name) => given(control, name)))
    expect(new Set(before).size).toBe(6)
    for (const address of before) expect(isWithin(range, address)).toBe(true)
    await control.restart()
    await Promise.all(names.map((name) => report(control, name, range)))
    await createNode(control.store, 'last')
    await report(control, 'last', '169.254.128.0/24')
    expect(isWithin('169.254.128.0/24', await given(control, 'last'))).toBe(true)
    expect(await Promise.all(names.map((name) => addressOf(control, name)))).toEqual(before)
    expect(await addressOf(control, 'other')).toBeUndefined()
  })

  it('change when the range does, and when somebody has written the same for two', async () => {
    await using control = await ControlFixture.start()
    for (const name of ['n1', 'n2']) await createNode(control.store, name)
    for (const name of ['n1', 'n2']) await report(control, name, range)
    const [first] = [await given(control, 'n1'), await given(control, 'n2')]
    await control.controllers.stop()
    await control.store.patch(Node, { name: 'n2' }, { status: { hostAddress: first } }, { subresource: 'status' })
    await control.restart()
    await eventually(async () => ((await addressOf(control, 'n2')) === first ? undefined : true))
    expect(await addressOf(control, 'n1')).toBe(first)
    await report(control, 'n1', '10.99.0.0/24')
    await eventually(async () => isWithin('10.99.0.0/24', (await addressOf(control, 'n1'))!) || undefined)
  })
})
