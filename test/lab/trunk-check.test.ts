import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, places, takeLabDown } from '../../lab/index.ts'
import { exec, type ExecError } from '../../src/base/index.ts'

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

/**
 * A `tc` filter that drops frames of a VLAN. It is a classic BPF program, because the tag is beside the frame and not in
 * it: only a program sees it there.
 */
function dropVlan(vlan: number): string[] {
  const tag = 0x100000000 - 4096 + 44 // SKF_AD_OFF + SKF_AD_VLAN_TAG of linux/filter.h
  const [drop, goOn] = [2, 0xffffffff] // TC_ACT_SHOT, TC_ACT_UNSPEC
  return ['bpf', 'direct-action', 'bytecode', `5,40 0 0 ${tag},84 0 0 4095,21 0 1 ${vlan},6 0 0 ${drop},6 0 0 ${goOn}`]
}

const directions = ['ingress', 'egress']

function filterAtPort(verb: 'add' | 'del', port: string, direction: string, rule: string[]): Promise<unknown> {
  const command = ['tc', 'filter', verb, 'dev', port, direction, 'prio', '1', 'protocol', 'all', ...rule]
  return exec(['nsenter', `--net=${places.switchNetns}`, ...command])
}

/** As if the VLAN was not allowed on the trunk to that node. */
async function forbidVlan(port: string, vlan: number): Promise<void> {
  await Promise.all(directions.map((direction) => filterAtPort('add', port, direction, dropVlan(vlan))))
}

async function allowVlans(port: string): Promise<void> {
  await Promise.all(directions.map((direction) => filterAtPort('del', port, direction, [])))
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
