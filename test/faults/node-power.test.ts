import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Endpoint } from '../../src/api/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { refusal, Sandbox } from '../support/sandboxes.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['endpoint', 'create', 'fixed', '-n', 'blue', '-i', '10.30.0.50'])
  await lab.dctl(['endpoint', 'create', 'steady', '-n', 'blue', '-i', '10.30.0.51'])
})
afterAll(() => lab.down())

describe('a node that loses power', () => {
  it('releases its endpoints when it boots again; static ones keep address and MAC and bind anywhere', async () => {
    const [lost, alsoLost, fixed, steady, elsewhere] = await Promise.all([
      Sandbox.attached(lab, 'n2', { network: 'blue' }),
      Sandbox.attached(lab, 'n2', { network: 'blue' }),
      Sandbox.attached(lab, 'n2', { endpointId: 'fixed' }),
      Sandbox.attached(lab, 'n2', { endpointId: 'steady' }),
      Sandbox.attached(lab, 'n3', { network: 'blue' }),
    ])
    expect(await elsewhere.reaches(fixed.address)).toBe(true)
    await lab.killNode('n2')
    expect(await elsewhere.reaches(fixed.address), 'a node without power does not answer').toBe(false)
    const successor = await Sandbox.make(lab, 'n3', { endpointId: 'fixed' })
    const error = refusal(await successor.add())
    expect(error, 'held as long as nobody knows that the holder has gone').toMatchObject({ code: 101 })
    expect(error.msg).toMatch(/default\/fixed.*n2/)

    await lab.startNode('n2')
    await expectNothingElse(lab, [elsewhere])
    const { items } = await lab.store.list(Endpoint)
    expect(items.filter(({ spec }) => !spec.isStatic).map(({ spec }) => spec.holder?.containerId)).toEqual([
      elsewhere.id,
    ])
    expect(await successor.add()).toMatchObject({ ok: true })
    const reborn = await Sandbox.attached(lab, 'n2', { endpointId: 'steady' })
    expect([successor.address, successor.mac]).toEqual([fixed.address, fixed.mac])
    expect([reborn.address, reborn.mac]).toEqual([steady.address, steady.mac])
    expect(await successor.reaches(reborn.address, 2)).toBe(true)
    const newcomer = await Sandbox.attached(lab, 'n2', { network: 'blue' })
    expect(await newcomer.reaches(elsewhere.address, 2)).toBe(true)

    // the runtime of the booted node cleans up what it remembers; nobody else may notice
    for (const sandbox of [lost, alsoLost, fixed, steady]) expect(await sandbox.del()).toMatchObject({ ok: true })
    await expectNothingElse(lab, [elsewhere, successor, reborn, newcomer])
    expect(await successor.check()).toMatchObject({ ok: true })
    await Promise.all([elsewhere, successor, reborn, newcomer].map((sandbox) => sandbox.remove()))
    await expectNothingElse(lab, [])
  })

  it('together with control comes back with all that was acknowledged', async () => {
    const before = await Promise.all(lab.nodes.map((node) => Sandbox.attached(lab, node, { network: 'blue' })))
    await Promise.all([lab.killNode('n1'), lab.stopControl({ kill: true })])
    await lab.startNode('n1') // without control: the agent must start all the same
    const early = await Sandbox.make(lab, 'n1', { network: 'blue' })
    expect(refusal(await early.add())).toMatchObject({ code: 11 })
    expect(await before[0]!.del()).toMatchObject({ ok: true })
    await lab.startControl()
    await expectNothingElse(lab, before.slice(1))
    await expect.poll(() => early.add(), { timeout: 10_000 }).toMatchObject({ ok: true })
    expect(await early.reaches(before[1]!.address, 2)).toBe(true)
    await Promise.all([early, ...before.slice(1)].map((sandbox) => sandbox.remove()))
    await expectNothingElse(lab, [])
  })
})
