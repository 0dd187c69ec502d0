import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { uplinkLimits } from '../../src/agent/uplink-limits.ts'
import { UplinkMonitor } from '../../src/agent/uplink-monitor.ts'
import type { FoundUplink, Node } from '../../src/api/index.ts'
import { silentLogger } from '../../src/base/index.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import { createSoftVfEngine } from '../../src/network/soft-vf/index.ts'
import { findUplinkProblems, kernelFiles, readLinkFacts } from '../../src/network/uplinks/index.ts'

/**
 * The real bonding and VLAN drivers, and all that the agent does about them: two cables from this node to a switch, where
 * the other ends are a bond as well and speak LACP.
 */
const run = (...[file, ...args]: [string, ...string[]]): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' })
const ip = (...args: string[]): string => run('ip', ...args)

const spec: Node['spec'] = {
  uplinks: {
    pods: { interface: 'bond0', rate: '2G' },
    storage: { interface: 'bond0.30', rate: '300M' },
  },
  maximumInterfaces: 10,
}

let engine: NetworkEngine
let monitor: UplinkMonitor

beforeAll(async () => {
  run('modprobe', '-a', 'veth', '8021q', 'sch_htb', 'cls_bpf', 'sch_ingress')
  run('modprobe', 'bonding', 'max_bonds=0')
  ip('netns', 'add', 'switch')
  for (const number of [0, 1])
    ip('link', 'add', `cable${number}`, 'type', 'veth', 'peer', `port${number}`, 'netns', 'switch')
  makeBond([], 'bond0', ['cable0', 'cable1'])
  makeBond(['-n', 'switch'], 'bond9', ['port0', 'port1'])
  for (const [where, bond, address] of [
    [[], 'bond0', '10.78.0.1'],
    [['-n', 'switch'], 'bond9', '10.78.0.2'],
  ] as const) {
    ip(...where, 'link', 'add', 'link', bond, 'name', `${bond}.30`, 'type', 'vlan', 'id', '30')
    ip(...where, 'address', 'add', `${address}/24`, 'dev', `${bond}.30`)
    ip(...where, 'link', 'set', `${bond}.30`, 'up')
  }
  run('mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf')
  monitor = new UplinkMonitor({
    spec,
    logger: silentLogger(),
    onChange: (found) => engine.changeUplink(uplinkLimits(spec, found)),
  })
  const objects = join(import.meta.dirname, '../bpf')
  const limits = uplinkLimits(spec, monitor.found)
  engine = createSoftVfEngine({
    uplink: 'bond0',
    limits,
    objects,
    pins: '/sys/fs/bpf/carbonado',
    logger: silentLogger(),
  })
  await engine.start()
  monitor.start()
})

afterAll(async () => {
  await monitor.stop()
  await engine.stop()
})

/** A bond that looks after its members and forms one link with its partner within seconds. */
function makeBond(where: string[], name: string, members: string[]): void {
  ip(...where, 'link', 'add', name, 'type', 'bond', 'mode', '802.3ad', 'lacp_rate', 'fast', 'miimon', '100')
  for (const member of members) ip(...where, 'link', 'set', member, 'master', name)
  ip(...where, 'link', 'set', name, 'up')
}

const podsUplink = (): FoundUplink => monitor.found.find(({ plane }) => plane === 'pods')!
const activeMembers = (): string[] => podsUplink().members!.flatMap(({ name, active }) => (active ? [name] : []))

async function eventually(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + 60_000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not come true; found ${JSON.stringify(monitor.found)}`)
    await sleep(50)
  }
}

/** Rates in Mbit/s of the classes on the bond, by their minor number. */
function classRates(): Record<string, number> {
  const units: Record<string, number> = { bit: 1e-6, Kbit: 1e-3, Mbit: 1, Gbit: 1e3 }
  const classes = run('tc', 'class', 'show', 'dev', 'bond0').matchAll(/^class htb 1:(\S+) .*? rate (\d+)(\w+) /gm)
  return Object.fromEntries([...classes].map(([, minor, rate, unit]) => [minor!, Number(rate) * units[unit!]!]))
}

const problems = (): string[] =>
  findUplinkProblems(spec, (name) => readLinkFacts(kernelFiles, name)).map(({ reason }) => reason)

function container(bandwidthFloor: number): AttachRequest {
  mkdirSync('/run/netns', { recursive: true })
  ip('netns', 'add', 'gold')
  return {
    endpointId: '00000000-0000-4000-8000-000000000001',
    endpointName: 'default/gold',
    containerId: 'gold',
    netns: '/run/netns/gold',
    interfaceName: 'eth0',
    macAddress: '02:00:00:00:00:01',
    addresses: [{ address: '10.30.0.10', prefixLength: 24 }],
    vlan: 100,
    bandwidthFloor,
  }
}

describe('a bond with LACP', () => {
  it('gives what its members give, to containers and to a VLAN device on it', async () => {
    await eventually('both members are active', () => activeMembers().length === 2)
    expect(podsUplink()).toMatchObject({ link: 'bond0', linkRate: 2e9, carrier: true })
    expect(monitor.found.find(({ plane }) => plane === 'storage')).toMatchObject({ link: 'bond0', vlan: 30 })
    await engine.attach(container(1_200e6))
    await eventually('the whole floor', () => classRates()['1'] === 1200)
    expect(classRates()).toMatchObject({ ffff: 1960, fffc: 300 })
    expect(problems()).toEqual([])
  })

  it('gives half without the link of a member, and floors follow; all is well when it is back', async () => {
    ip('-n', 'switch', 'link', 'set', 'port1', 'down')
    await eventually('one member is active', () => activeMembers().join() === 'cable0')
    expect(podsUplink()).toMatchObject({ linkRate: 1e9, carrier: true })
    await eventually('floors that fit', () => classRates()['1'] === 640) // 940 of 1000, less 300 for storage
    expect(classRates()).toMatchObject({ ffff: 980, fffc: 300 })
    expect(problems()).toEqual(['BondMemberDown'])
    ip('-n', 'switch', 'link', 'set', 'port1', 'up')
    await eventually('both members are active again', () => activeMembers().length === 2)
    await eventually('the whole floor again', () => classRates()['1'] === 1200)
  })

  it('has no carrier when both are gone', async () => {
    for (const port of ['port0', 'port1']) ip('-n', 'switch', 'link', 'set', port, 'down')
    await eventually('no carrier', () => !podsUplink().carrier)
    expect(podsUplink().linkRate).toBe(0)
    for (const port of ['port0', 'port1']) ip('-n', 'switch', 'link', 'set', port, 'up')
    await eventually('both members are active again', () => activeMembers().length === 2)
  })
})

describe('a VLAN device on the link of containers', () => {
  it('sends by the class that is kept for its plane', async () => {
    const sent = (): number =>
      Number(
        /class htb 1:fffc [^]*?Sent \d+ bytes (\d+) pkt/.exec(run('tc', '-s', 'class', 'show', 'dev', 'bond0'))![1],
      )
    const before = sent()
    await eventually('the switch answers', () => {
      try {
        run('ping', '-q', '-c', '3', '-i', '0.2', '-W', '2', '10.78.0.2')
        return true
      } catch {
        return false
      }
    })
    expect(sent()).toBeGreaterThan(before + 2)
  })
})
