import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { programStates } from '../../lab/state.ts'
import { AddressClaim, Endpoint } from '../../src/api/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { describe as describeError, refusal, Sandbox } from '../support/sandboxes.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/16', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['network', 'create', 'last', '-s', '10.60.0.0/24', '--start', '10.60.0.9', '--end', '10.60.0.9', '-v', '160']) // prettier-ignore
})
afterAll(() => lab.down())

describe('while control is down', () => {
  it('ADD asks to be tried again, DEL and CHECK succeed, STATUS says so; afterwards all is as it should be', async () => {
    const [leaving, staying, coming] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'blue' }),
      Sandbox.attached(lab, 'n1', { network: 'blue' }),
      Sandbox.make(lab, 'n1', { network: 'blue' }),
    ])
    expect(await lab.cni('n1', 'STATUS'), 'STATUS while all is well').toEqual({ ok: true, result: undefined })
    await lab.stopControl()
    const error = refusal(await coming.add())
    expect(error, describeError(error)).toMatchObject({ code: 11, msg: expect.stringMatching(/control|connect/i) })
    expect(error.details, 'the error says what to do').toMatch(/\w{4}/)
    expect(refusal(await lab.cni('n1', 'STATUS'))).toMatchObject({ code: 50, msg: expect.stringContaining('no container can be attached') }) // prettier-ignore
    expect(await coming.del(), 'DEL of the failed ADD').toEqual({ ok: true, result: undefined })
    expect(await leaving.del(), 'DEL of what is attached').toEqual({ ok: true, result: undefined })
    expect(await leaving.del(), 'the same DEL again').toEqual({ ok: true, result: undefined })
    // cut off at once, removed a moment later
    await expect
      .poll(() => leaving.exec(['ip', 'link']).then(({ stdout }) => stdout), { timeout: 20_000 })
      .not.toContain('eth0')
    expect(await staying.check(), 'CHECK of what stays').toMatchObject({ ok: true })
    expect(await staying.add(), 'the same ADD again of what is attached').toMatchObject({ ok: true })
    await lab.startControl()
    await expectNothingElse(lab, [staying])
    await expect.poll(() => lab.cni('n1', 'STATUS'), { timeout: 10_000 }).toMatchObject({ ok: true })
    await expect.poll(() => coming.add(), { timeout: 10_000, message: 'the same ADD must work now' }).toMatchObject({ ok: true }) // prettier-ignore
    await expectNothingElse(lab, [staying, coming])
    await Promise.all([leaving, staying, coming].map((sandbox) => sandbox.remove()))
  })

  it('an agent that starts keeps what is attached and takes DEL', async () => {
    const [one, two] = await Promise.all([1, 2].map(() => Sandbox.attached(lab, 'n2', { network: 'blue' })))
    await lab.stopControl({ kill: true })
    await lab.killAgent('n2')
    await lab.startAgent('n2')
    expect(await one!.check(), 'CHECK after a restart without control').toMatchObject({ ok: true })
    expect(await two!.del(), 'DEL after a restart without control').toMatchObject({ ok: true })
    await lab.killAgent('n2') // what it did is remembered, not repeated
    await lab.startAgent('n2')
    await lab.startControl()
    await expectNothingElse(lab, [one!])
    expect(await one!.check()).toMatchObject({ ok: true })
    await Promise.all([one!.remove(), two!.remove()])
  })

  it('or hangs, ADD gives up with "try again", DEL does not wait, and what control does late is taken back', async () => {
    const [leaving, coming, killed] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'blue' }),
      Sandbox.make(lab, 'n1', { network: 'blue' }),
      Sandbox.make(lab, 'n2', { network: 'blue' }),
    ])
    const control = programStates.get('control')!.pid
    process.kill(control, 'SIGSTOP')
    try {
      const adds = [coming.add(), killed.add()] as const
      expect(await leaving.del(), 'DEL while control hangs').toEqual({ ok: true, result: undefined })
      await lab.killAgent('n2') // its request lies in the socket of control
      await lab.startAgent('n2')
      for (const outcome of await Promise.all(adds)) {
        const error = refusal(outcome)
        expect(error, describeError(error)).toMatchObject({ code: 11 })
      }
    } finally {
      process.kill(control, 'SIGCONT')
    }
    // before any DEL: nobody was told about what the late requests made
    await expectNothingElse(lab, [])
    for (const sandbox of [coming, killed]) expect(await sandbox.add()).toMatchObject({ ok: true })
    await expectNothingElse(lab, [coming, killed])
    await Promise.all([leaving, coming, killed].map((sandbox) => sandbox.remove()))
  })

  it('a held ADD whose control comes back in time succeeds, and whose runtime gave up leaves nothing', async () => {
    const sandbox = await Sandbox.make(lab, 'n3', { network: 'blue' })
    await lab.stopControl({ kill: true })
    const gaveUp = lab.cni('n3', 'ADD', { ...sandbox.request, deadline: 60 }) // the plugin is killed after that
    await lab.startControl()
    await gaveUp
    await sandbox.remove()
    await expectNothingElse(lab, [])
  })
})

describe('the last free address', () => {
  it('goes to exactly one of twenty ADDs on three nodes; the others are told that there is none', async () => {
    const nodes = Array.from({ length: 20 }, (_, index) => lab.nodes[index % lab.nodes.length]!)
    const sandboxes = await Promise.all(nodes.map((node) => Sandbox.make(lab, node, { network: 'last' })))
    const outcomes = await Promise.all(sandboxes.map((sandbox) => sandbox.add()))
    const winners = sandboxes.filter((_, index) => outcomes[index]!.ok)
    expect(winners.length, 'exactly one ADD may win').toBe(1)
    for (const outcome of outcomes) {
      if (!outcome.ok) expect(outcome.error, describeError(outcome.error)).toMatchObject({ code: 102 })
    }
    expect(winners[0]!.addresses).toEqual(['10.60.0.9'])
    await expectNothingElse(lab, winners) // also before any DEL: a failed ADD cleans up behind itself
    await Promise.all(sandboxes.filter((each) => each !== winners[0]).map((sandbox) => sandbox.remove()))
    expect(await winners[0]!.check(), 'the DELs of the losers must not touch the winner').toMatchObject({ ok: true })
    await winners[0]!.remove()
    const next = await Sandbox.make(lab, 'n2', { network: 'last' })
    await expect.poll(() => next.add(), { timeout: 10_000, message: 'the address is free again' }).toMatchObject({ ok: true }) // prettier-ignore
    await next.remove()
    await expectNothingElse(lab, [])
  })
})

describe('control killed under a storm of ADD and DEL', () => {
  it('keeps all that was acknowledged, and nothing twice', async () => {
    const attached = new Set<Sandbox>()
    const tally = { added: 0, removed: 0, refused: 0 }
    let isOver = false
    const worker = async (node: string): Promise<void> => {
      const mine: Sandbox[] = []
      while (!isOver) {
        if (mine.length > 3) {
          const oldest = mine.shift()!
          attached.delete(oldest)
          await oldest.remove()
          tally.removed++
          continue
        }
        const sandbox = await Sandbox.make(lab, node, { network: 'blue' })
        const outcome = await sandbox.add()
        tally[outcome.ok ? 'added' : 'refused']++
        if (!outcome.ok) {
          expect(outcome.error, describeError(outcome.error)).toMatchObject({ code: 11 })
          await sandbox.remove()
          continue
        }
        attached.add(sandbox)
        mine.push(sandbox)
      }
    }
    const storm = lab.nodes.flatMap((node) => [worker(node), worker(node), worker(node)])
    for (let kill = 0; kill < 4; kill++) {
      const before = tally.added
      await new Promise((resolve) => setTimeout(resolve, 400 + Math.random() * 400))
      await expect
        .poll(() => tally.added - before, { timeout: 20_000, message: 'the storm goes on' })
        .toBeGreaterThan(7)
      await lab.stopControl({ kill: true })
      await lab.startControl()
    }
    isOver = true
    await Promise.all(storm)
    await expectNothingElse(lab, [...attached])
    await expectAcknowledged([...attached])
    await Promise.all([...attached].map((sandbox) => sandbox.remove()))
    await expectNothingElse(lab, [])
    expect((await lab.store.list(AddressClaim)).items).toEqual([])
  })

  /** The store has for each container what its runtime was told. */
  async function expectAcknowledged(sandboxes: Sandbox[]): Promise<void> {
    const { items } = await lab.store.list(Endpoint)
    const told = sandboxes.map(({ id, address, mac }) => ({ id, address, mac }))
    const kept = items.map(({ spec, status }) => {
      const allocation = status?.allocation
      if (allocation?.state !== 'Allocated') return { id: spec.holder?.containerId }
      const { addresses, macAddress: mac } = allocation
      return { id: spec.holder?.containerId, address: addresses[0]!.address, mac }
    })
    const order = (one: { id?: string }, other: { id?: string }): number => one.id!.localeCompare(other.id!)
    expect(kept.sort(order)).toEqual(told.sort(order))
    expect(new Set(told.map(({ address }) => address)).size, 'addresses given twice').toBe(told.length)
    expect(new Set(told.map(({ mac }) => mac)).size, 'MACs given twice').toBe(told.length)
  }
})
