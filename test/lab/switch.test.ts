import './own-lab.ts'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { artefacts, Lab, takeLabDown, type Host } from '../../lab/index.ts'
import type { ExecResult } from '../../src/base/index.ts'
import { severalAttempts } from '../support/patience.ts'

const rate = 200e6
let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2, rate, bare: true })
})
afterAll(() => lab.down())

/** Whether one of three pings is answered. */
async function reaches(ping: Promise<unknown>): Promise<boolean> {
  return ping.then(
    () => true,
    () => false,
  )
}

function pingFrom(host: Host, address: string): Promise<unknown> {
  return host.exec(['ping', '-c', '3', '-i', '0.2', '-W', '1', address])
}

/** One process reads the time and the bytes, so that no wait for a processor comes between them unnoticed. */
const readBytes =
  'while read -r name bytes rest; do if [ "$name" = eth0: ]; then echo "$EPOCHREALTIME $bytes"; fi; done </proc/net/dev'

/** Bits per second that arrive at a namespace's eth0 over two seconds, headers included. */
async function receivedRate(run: (command: string[]) => Promise<ExecResult>): Promise<number> {
  await sleep(500) // past the bucket that an idle port has saved up
  const { stdout } = await run(['bash', '-c', `${readBytes}; sleep 2; ${readBytes}`])
  const [begun, before, ended, after] = stdout.trim().split(/\s/).map(Number) as [number, number, number, number]
  return ((after - before) * 8) / (ended - begun)
}

const onNodeOne = (command: string[]): Promise<ExecResult> => lab.nodeExec('n1', command)

async function endOf(program: ChildProcess): Promise<void> {
  const ended = program.exitCode === null && program.signalCode === null ? once(program, 'exit') : undefined
  program.kill()
  await ended
}

/** The limit holds in every attempt, and one of several shows that nearly all of it is there. */
async function expectLimited(attempt: () => Promise<number>): Promise<void> {
  const received: number[] = []
  const latest = async (): Promise<number> => {
    received.push(await attempt())
    return received.at(-1)!
  }
  await expect.poll(latest, severalAttempts).toBeGreaterThan(0.5 * rate)
  expect(Math.max(...received)).toBeLessThan(1.1 * rate)
}

describe('the link rate of a node', () => {
  // the host's own port is not limited: whatever limits the flood is the node's
  let host: Host
  beforeAll(async () => {
    host = await lab.addHost({ name: 'outside', vlan: 0, address: '10.77.0.200/24' })
  })
  afterAll(() => host.remove())

  it('limits what the node sends, and nearly all of it is there', async () => {
    const attempt = async (): Promise<number> => {
      const server = host.spawn(['iperf3', '--server', '--one-off'])
      await sleep(300)
      const flood = lab.nodeSpawn('n1', ['iperf3', '-c', '10.77.0.200', '-u', '-b', '800M', '-t', '4'])
      const received = await receivedRate((command) => host.exec(command))
      await Promise.all([endOf(flood), endOf(server)])
      return received
    }
    await expectLimited(attempt)
  })

  it('limits what is sent to the node, and nearly all of it is there', async () => {
    const attempt = async (): Promise<number> => {
      const server = lab.nodeSpawn('n1', ['iperf3', '--server', '--one-off'])
      await sleep(300)
      const flood = host.spawn(['iperf3', '-c', '10.77.0.11', '-u', '-b', '800M', '-t', '4'])
      const received = await receivedRate(onNodeOne)
      await Promise.all([endOf(flood), endOf(server)])
      return received
    }
    await expectLimited(attempt)
  })
})

describe('a port that more is sent to than it carries', () => {
  it('loses the rest, instead of making the senders wait', { timeout: 120_000 }, async () => {
    const ports = [5201, 5202]
    const senders = await Promise.all(
      ports.map((port) => lab.addHost({ name: `sender-${port}`, vlan: 0, address: `10.77.0.${port - 5000}/24` })),
    )
    const received: number[] = []
    /** Percent that the one lost that lost more. */
    const attempt = async (): Promise<number> => {
      const servers = ports.map((port) => lab.nodeSpawn('n1', ['iperf3', '--server', '--one-off', '-p', String(port)]))
      await sleep(300)
      const flood = ['iperf3', '-J', '-c', '10.77.0.11', '-u', '-b', String(rate * 0.8), '-t', '6']
      const sending = senders.map((sender, i) => sender.exec([...flood, '-p', String(ports[i])], { deadline: 30_000 }))
      const [arrived, ...reports] = await Promise.allSettled([receivedRate(onNodeOne), ...sending])
      await Promise.all(servers.map(endOf))
      if (arrived.status === 'rejected') throw arrived.reason
      received.push(arrived.value)
      return Math.max(...reports.map((report) => (report.status === 'fulfilled' ? lostPercent(report.value) : 0)))
    }
    await expect.poll(attempt, severalAttempts).toBeGreaterThan(20)
    expect(Math.max(...received)).toBeLessThan(1.1 * rate)
    await Promise.all(senders.map((sender) => sender.remove()))
  })
})

/** What a sender of iperf3 reports. */
function lostPercent({ stdout }: ExecResult): number {
  return (JSON.parse(stdout) as { end: { sum: { lost_percent: number } } }).end.sum.lost_percent
}

describe('access ports', () => {
  it('carry a VLAN to its hosts and nothing to those of another VLAN with the same addresses', async () => {
    const blue = await lab.addHost({ name: 'blue', vlan: 100, address: '10.30.0.1/24' })
    const blueToo = await lab.addHost({ name: 'blue-too', vlan: 100, address: '10.30.0.2/24' })
    const green = await lab.addHost({ name: 'green', vlan: 4094, address: '10.30.0.3/24' })
    const untagged = await lab.addHost({ name: 'untagged', vlan: 0, address: '10.30.0.4/24' })
    expect(await reaches(pingFrom(blue, '10.30.0.2'))).toBe(true)
    expect(await reaches(pingFrom(blueToo, '10.30.0.1'))).toBe(true)
    for (const other of [green, untagged]) {
      expect(await reaches(pingFrom(blue, other === green ? '10.30.0.3' : '10.30.0.4'))).toBe(false)
      expect(await reaches(pingFrom(other, '10.30.0.1'))).toBe(false)
    }
    await Promise.all([blue, blueToo, green, untagged].map((host) => host.remove()))
  })

  it('do not let a host choose its VLAN by a tag of its own', async () => {
    const hopper = await lab.addHost({ name: 'hopper', vlan: 100, address: '10.30.0.1/24' })
    const target = await lab.addHost({ name: 'target', vlan: 200, address: '10.30.0.2/24' })
    // static neighbours: only the way from hopper to target is in question
    await tagEverything(hopper, 200)
    await hopper.exec(['ip', 'neighbour', 'add', '10.30.0.2', 'lladdr', await macOf(target), 'dev', 'eth0'])
    const before = receivedBytes(await target.exec(['ip', '-s', '-j', 'link', 'show', 'eth0']))
    await reaches(pingFrom(hopper, '10.30.0.2'))
    const after = receivedBytes(await target.exec(['ip', '-s', '-j', 'link', 'show', 'eth0']))
    expect(after - before).toBe(0)
    await Promise.all([hopper, target].map((host) => host.remove()))
  })
})

describe('a node without power', () => {
  it('is dark, keeps its disk and loses its /run, and comes back under the same address', async () => {
    await lab.nodeExec('n2', ['touch', '/var/lib/kept', '/run/lost'])
    await lab.killNode('n2')
    await expect(lab.nodeExec('n2', ['true'])).rejects.toMatchObject({
      remedy: 'Start it again with: dctl lab start n2',
    })
    expect(await reaches(lab.nodeExec('n1', ['ping', '-c', '1', '-W', '1', '10.77.0.12']))).toBe(false)
    await lab.startNode('n2')
    expect(await reaches(lab.nodeExec('n1', ['ping', '-c', '3', '-W', '1', '10.77.0.12']))).toBe(true)
    await lab.nodeExec('n2', ['test', '-e', '/var/lib/kept'])
    expect(await reaches(lab.nodeExec('n2', ['test', '-e', '/run/lost']))).toBe(false)
    expect(() => readFileSync('/var/lib/kept')).toThrow()
  })
})

function receivedBytes({ stdout }: { stdout: string }): number {
  return (JSON.parse(stdout) as { stats64: { rx: { bytes: number } } }[])[0]!.stats64.rx.bytes
}

async function macOf(host: Host): Promise<string> {
  const { stdout } = await host.exec(['ip', '-j', 'link', 'show', 'eth0'])
  return (JSON.parse(stdout) as { address: string }[])[0]!.address
}

/** The host itself puts a tag on all it sends, as somebody would who wants to hop to another VLAN. */
async function tagEverything(host: Host, vlan: number): Promise<void> {
  const program = ['bpf', 'direct-action', 'object-file', artefacts.accessPort, 'section', 'cbl_push']
  await host.exec(['tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact'])
  await host.exec(['tc', 'filter', 'add', 'dev', 'eth0', 'egress', ...program, 'classid', `0:${vlan.toString(16)}`])
}
