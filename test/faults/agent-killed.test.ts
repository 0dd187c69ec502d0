import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { Sandbox } from '../support/sandboxes.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['perf-tier', 'create', 'shaped', '-b', '1M', '-B', '100M'])
})
afterAll(() => lab.down())

/** Seven on each of three nodes: a little more than twenty. */
const rounds = 7
const atOnce = 4

/** Milliseconds from 0 to `longest`, spread over the rounds and random within each part. */
function moment(round: number, longest: number): number {
  return ((round + Math.random()) * longest) / rounds
}

async function onEachNode(work: (node: string) => Promise<void>): Promise<void> {
  const failed = (await Promise.allSettled(lab.nodes.map(work))).find(({ status }) => status === 'rejected')
  if (failed) throw (failed as PromiseRejectedResult).reason
}

/** Has the runtime call the plugin for all sandboxes, and kills the agent meanwhile; returns which calls failed. */
async function callAndKill(
  node: string,
  sandboxes: Sandbox[],
  call: (sandbox: Sandbox) => ReturnType<Sandbox['add']>,
  milliseconds: number,
): Promise<Sandbox[]> {
  const calls = sandboxes.map(async (sandbox) => ({ sandbox, outcome: await call(sandbox) }))
  await sleep(milliseconds)
  await lab.killAgent(node)
  const answers = await Promise.all(calls)
  await lab.startAgent(node)
  return answers.filter(({ outcome }) => !outcome.ok).map(({ sandbox }) => sandbox)
}

describe('an agent that is killed', () => {
  it('in the middle of ADD at some twenty random moments leaks nothing and doubles nothing', async () => {
    let failures = 0
    await onEachNode(async (node) => {
      const attached = new Set<Sandbox>()
      for (let round = 0; round < rounds; round++) {
        const wishes = { network: 'blue', ...(round % 2 ? { perfTier: 'shaped' } : {}) }
        const sandboxes = await Promise.all(Array.from({ length: atOnce }, () => Sandbox.make(lab, node, wishes)))
        const milliseconds = moment(round, 45)
        const failed = await callAndKill(node, sandboxes, (sandbox) => sandbox.add(), milliseconds)
        failures += failed.length
        for (const sandbox of sandboxes) attached.add(sandbox)
        // a runtime sends DEL for a failed ADD; one that tries the same ADD again is served too
        const [again, ...given] = failed
        for (const sandbox of given) attached.delete(sandbox)
        await Promise.all(given.map((sandbox) => sandbox.remove()))
        if (again) await expect.poll(() => again.add(), { timeout: 10_000, message: `the ADD that a kill after ${milliseconds} ms cut off must work when repeated` }).toMatchObject({ ok: true }) // prettier-ignore
        await expectNothingElse(lab, [...attached], [node])
        for (const sandbox of attached) {
          expect(await sandbox.check(), `CHECK after a kill ${milliseconds} ms into ADD`).toMatchObject({ ok: true })
        }
        for (const sandbox of [...attached].slice(0, -2)) {
          await sandbox.remove()
          attached.delete(sandbox)
        }
      }
      await Promise.all([...attached].map((sandbox) => sandbox.remove()))
    })
    expect(failures, 'no kill came in the middle of an ADD').toBeGreaterThan(0)
    await expectNothingElse(lab, [])
  })

  it('in the middle of DEL at some twenty random moments leaks nothing and takes nothing else away', async () => {
    let failures = 0
    await onEachNode(async (node) => {
      const staying = await Sandbox.attached(lab, node, { network: 'blue' })
      for (let round = 0; round < rounds; round++) {
        const wishes = { network: 'blue', ...(round % 2 ? { perfTier: 'shaped' } : {}) }
        const sandboxes = await Promise.all(Array.from({ length: atOnce }, () => Sandbox.attached(lab, node, wishes)))
        const milliseconds = moment(round, round % 2 ? 100 : 25) // deleting the interfaces goes on after the answers
        const failed = await callAndKill(node, sandboxes, (sandbox) => sandbox.del(), milliseconds)
        failures += failed.length
        await Promise.all(failed.map((sandbox) => sandbox.remove()))
        await expectNothingElse(lab, [staying], [node])
        expect(await staying.check(), `CHECK after a kill ${milliseconds} ms into DELs`).toMatchObject({ ok: true })
        await Promise.all(sandboxes.filter((each) => !failed.includes(each)).map((sandbox) => sandbox.remove()))
      }
      await staying.remove()
    })
    expect(failures, 'no kill came in the middle of a DEL').toBeGreaterThan(0)
    await expectNothingElse(lab, [])
  })

  it('and started again under traffic loses no packet, on one node and across nodes', async () => {
    const [client, near, far] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'blue' }),
      Sandbox.attached(lab, 'n1', { network: 'blue', perfTier: 'shaped' }),
      Sandbox.attached(lab, 'n2', { network: 'blue' }),
    ])
    expect(await client.reaches(near.address, 2), 'the containers reach each other at all').toBe(true)
    expect(await client.reaches(far.address, 2), 'the containers reach each other at all').toBe(true)
    const count = 2000
    const ping = (address: string): Promise<string> =>
      client.exec(['ping', '-q', '-i', '0.002', '-c', String(count), '-W', '2', address], 150_000).then(
        ({ stdout }) => stdout,
        (error: unknown) => String(error),
      )
    const pings = Promise.all([ping(near.address), ping(far.address)])
    let isOver = false
    void pings.then(() => (isOver = true))
    let kills = 0
    while (!isOver) {
      await Promise.all(['n1', 'n2'].map((node) => lab.killAgent(node)))
      await sleep(200)
      await Promise.all(['n1', 'n2'].map((node) => lab.startAgent(node)))
      await sleep(100)
      kills++
    }
    expect(kills, 'kills while the traffic went on').toBeGreaterThan(0)
    for (const report of await pings) {
      expect(report, 'not a single packet may be lost').toContain(
        `${count} packets transmitted, ${count} received, 0% packet loss`,
      )
      expect(report).not.toContain('duplicates')
    }
    await expectNothingElse(lab, [client, near, far])
    await Promise.all([client, near, far].map((sandbox) => sandbox.remove()))
  }, 300_000)
})
