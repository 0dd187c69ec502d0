import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import type { ExecError } from '../../src/base/index.ts'
import { allowVlans, forbidVlan } from '../support/switch-faults.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-v', '100'])
  await lab.dctl(['network', 'create', 'green', '-s', '10.30.0.0/24', '-v', '200'])
})
afterAll(() => lab.down())

interface Problem {
  node: string
  reason: string
  message: string
  remedy: string
}

/** Runs `dctl node check`: its exit code and the problems that it printed. */
async function nodeCheck(): Promise<{ exitCode: number | null; problems: Problem[] }> {
  const answer = (exitCode: number | null, text: string) => {
    const problems = (JSON.parse(text) as { items: Problem[] }).items
    return { exitCode, problems }
  }
  return lab.dctl(['node', 'check', '-o', 'json']).then(
    ({ stdout }) => answer(0, stdout),
    ({ exitCode, stdout }: ExecError) => answer(exitCode, stdout),
  )
}

describe('dctl node check, when a switch port does not carry a VLAN', () => {
  it('names the VLAN and the node within 35 s, and is content again when the port carries it', async () => {
    await sleep(20_000) // networks and nodes are judged when they have been there for three probes
    expect(await nodeCheck(), 'a lab whose trunks carry all VLANs').toEqual({ exitCode: 0, problems: [] })
    await forbidVlan('n3', 100)
    const everybody = { timeout: 35_000, interval: 1_000 }
    const silence = (node: string, from: string): object =>
      expect.objectContaining({
        node,
        reason: 'VlanNotTrunked',
        message: `VLAN 100 (network blue) does not arrive from ${from}`,
        remedy: expect.stringContaining('switch port of n3 '),
      })
    await expect.poll(nodeCheck, everybody).toEqual({
      exitCode: 1,
      problems: [silence('n1', 'n3'), silence('n2', 'n3'), silence('n3', 'n1, n2')],
    })
    await allowVlans('n3')
    await expect.poll(nodeCheck, { timeout: 10_000, interval: 500 }).toEqual({ exitCode: 0, problems: [] })
  }, 120_000)
})
