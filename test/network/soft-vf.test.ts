import { spawn } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { windowsBetween, type Windows } from '../../src/guarantee/index.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import { ethernet, routerAdvertisement } from '../support/frames.ts'
import { container, iperf, makeNode, pins, startEngine, wireAddress } from '../support/one-node.ts'
import { enterOwnNamespaces, run, runIn, succeeds } from '../support/own-namespaces.ts'
import { severalAttempts } from '../support/patience.ts'
import { RawSocket } from '../support/raw-socket.ts'

let engine: NetworkEngine

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  engine = await startEngine()
})

afterAll(() => engine.stop())

const hasPing = (from: AttachRequest, address: string): boolean =>
  succeeds('nsenter', `--net=${from.netns}`, 'ping', '-q', '-c', '1', '-W', '1', address)

/** Everything of the engine that the kernel holds, beside the uplink's own tree. */
function kernelState(): { links: string[]; classes: number; forwarding: number } {
  const links = JSON.parse(run('ip', '-json', 'link', 'show', 'type', 'veth')) as { ifname: string }[]
  const classes = run('tc', 'class', 'show', 'dev', 'eth0').match(/^class/gm) ?? []
  const entries = JSON.parse(run('bpftool', '-j', 'map', 'dump', 'pinned', '/sys/fs/bpf/carbonado/maps/forwarding')) as []
  return { links: links.map((link) => link.ifname).filter((name) => name.startsWith('cbn')), classes: classes.length, forwarding: entries.length }
} // prettier-ignore

/** What runs on what arrives: the kernel's numbers of the uplink's link and of the programs of the filters. */
const hooks = (): string[] => [
  run('bpftool', 'link', 'show', 'pinned', `${pins}/uplink`),
  ...kernelState().links.map((name) => run('tc', 'filter', 'show', 'dev', name, 'ingress')),
]

/** Stops the engine, which completes its removals, and starts another as a restarted agent would. */
async function restart(): Promise<void> {
  await engine.stop()
  engine = await startEngine()
}

describe('an attached container', () => {
  const first = (): AttachRequest => container(10)
  let one: AttachRequest
  let two: AttachRequest
  let stranger: AttachRequest

  beforeAll(async () => {
    ;[one, two, stranger] = [first(), container(11), container(12, { vlan: 200 })]
    await Promise.all([one, two, stranger].map((request) => engine.attach(request)))
  })
  afterAll(async () => {
    await Promise.all([one, two, stranger].map((request) => engine.detach(request.endpointId)))
    await restart()
  })

  it('has its addresses, its MAC and room for the tag', () => {
    const [link] = JSON.parse(run('nsenter', `--net=${one.netns}`, 'ip', '-json', 'address', 'show', 'eth0')) as [
      { mtu: number; address: string; addr_info: { local: string }[] },
    ]
    expect(link).toMatchObject({ mtu: 1496, address: one.macAddress })
    expect(link.addr_info.map((info) => info.local)).toEqual(expect.arrayContaining(['10.30.0.10', 'fd00:30::10']))
  })

  it('reaches its VLAN on the same node and on the wire, by IPv4 and IPv6', () => {
    expect(hasPing(one, '10.30.0.11')).toBe(true)
    expect(hasPing(one, 'fd00:30::11')).toBe(true)
    expect(hasPing(one, wireAddress)).toBe(true)
  })

  it('does not reach another VLAN on the same node', () => {
    expect(hasPing(one, '10.30.0.12')).toBe(false)
    expect(hasPing(stranger, '10.30.0.10')).toBe(false)
  })

  it('is all well by check', async () => expect(await engine.check(one)).toEqual([]))

  it('can be attached again by the same request, and not by another container', async () => {
    const before = kernelState()
    await engine.attach(one)
    expect(kernelState()).toEqual(before)
    await expect(engine.attach({ ...one, containerId: 'another' })).rejects.toMatchObject({ code: 'Conflict' })
  })

  it('is found again by a restarted engine, which changes nothing and keeps its counters', async () => {
    const attached = await engine.attached()
    const before = hooks()
    const { sentPackets } = engine.counters().find((each) => each.endpointId === one.endpointId)!
    await restart()
    expect(await engine.attached()).toEqual(attached)
    expect(sentPackets).toBeGreaterThan(0)
    expect(engine.counters().find((each) => each.endpointId === one.endpointId)!.sentPackets).toBeGreaterThanOrEqual(sentPackets)
    expect(hooks()).toEqual(before)
  }) // prettier-ignore

  it('is found again by one from whose pins any was removed, which loads its programs anew', async () => {
    const { sentPackets } = engine.counters().find((each) => each.endpointId === one.endpointId)!
    const version = readdirSync(pins).find((name) => /^v[0-9a-f]{12}$/.test(name))!
    const parts = [...readdirSync(join(pins, version)).map((name) => join(version, name)), `${version}-arrivals`, `${version}-counters`] // prettier-ignore
    expect(parts.length).toBeGreaterThan(5)
    for (const part of parts) {
      await engine.stop()
      rmSync(join(pins, part))
      engine = await startEngine()
      expect({ part, reaches: hasPing(one, '10.30.0.11') }).toEqual({ part, reaches: true })
    }
    expect(engine.counters().find((each) => each.endpointId === one.endpointId)!.sentPackets).toBeGreaterThan(sentPackets)
    expect(await engine.check(one)).toEqual([])
  }) // prettier-ignore

  it('has damage reported by check', async () => {
    runIn('container11', 'ip', 'address', 'del', '10.30.0.11/24', 'dev', 'eth0')
    expect((await engine.check(two)).map((problem) => problem.reason)).toEqual(['AddressMissing'])
    const { hostInterface } = (await engine.attached()).find((each) => each.endpointId === two.endpointId)!
    run('tc', 'filter', 'del', 'dev', hostInterface, 'ingress')
    expect((await engine.check(two)).map((problem) => problem.reason)).toEqual(['AddressMissing', 'ProgramMissing'])
  })
})

describe('attaching what is not certain yet', () => {
  it('opens the datapath when it is certain', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const request = container(15)
    const attaching = engine.attach(request, promise)
    await expect.poll(() => succeeds('nsenter', `--net=${request.netns}`, 'ip', 'route', 'get', wireAddress)).toBe(true)
    expect(succeeds('nsenter', `--net=${request.netns}`, 'ping', '-q', '-c', '2', '-i', '0.1', '-W', '0.2', wireAddress)).toBe(false)
    expect(await engine.attached()).toEqual([])
    resolve()
    await attaching
    expect(hasPing(request, wireAddress)).toBe(true)
    await engine.detach(request.endpointId)
    await restart()
  })

  it('leaves nothing when it does not come true, nor what was prepared for nobody', async () => {
    const before = kernelState()
    const request = container(16)
    const refused = Promise.reject(new Error('the disk is broken'))
    refused.catch(() => {}) // the engine looks at it later
    await expect(engine.attach(request, refused)).rejects.toThrow('the disk is broken')
    engine.prepare(request)[Symbol.dispose]()
    await restart()
    expect(kernelState()).toEqual(before)
  })

  it('uses what was prepared', async () => {
    const request = container(17)
    {
      using _preparation = engine.prepare(request)
      await engine.attach(request)
    }
    expect(kernelState().links).toHaveLength(1)
    expect(hasPing(request, wireAddress)).toBe(true)
    await engine.detach(request.endpointId)
    await restart()
  })
}) // prettier-ignore

describe('a router that advertises itself on the VLAN', () => {
  const router = '02:00:00:00:00:fe'
  const prefix = 'fd00:99::'
  const fromRouter = (request: AttachRequest): string[] =>
    [
      ['address', 'show'],
      ['route', 'show'],
    ]
      .flatMap((command) => runIn(request.containerId, 'ip', '-6', ...command).split('\n'))
      .filter((line) => line.includes(prefix) || line.includes('proto ra'))

  it('gives containers neither addresses nor routes, which could not be used', async () => {
    const [usual, believer] = [container(22), container(23)]
    await Promise.all([engine.attach(usual), engine.attach(believer)])
    runIn('container23', 'sysctl', '-qw', 'net.ipv6.conf.eth0.accept_ra=1')
    const [port] = JSON.parse(runIn('wire', 'ip', '-json', 'link', 'show', 'port')) as [{ ifindex: number }]
    using wire = new RawSocket('/run/netns/wire', port.ifindex)
    const frame = ethernet('33:33:00:00:00:01', router, 0x86dd, routerAdvertisement('fe80::ff:fe00:fe', prefix))
    await expect.poll(() => (wire.send(frame), fromRouter(believer)), { timeout: 10_000 }).not.toEqual([])
    expect(fromRouter(usual)).toEqual([])
    await Promise.all([usual, believer].map((request) => engine.detach(request.endpointId)))
  })
})

describe('detaching', () => {
  it('cuts the container off at once and leaves nothing', async () => {
    const before = kernelState()
    const request = container(20)
    await engine.attach(request)
    expect(hasPing(request, wireAddress)).toBe(true)
    await engine.detach(request.endpointId)
    expect(succeeds('nsenter', `--net=${request.netns}`, 'ping', '-q', '-c', '1', '-W', '0.2', wireAddress)).toBe(false)
    await engine.detach(request.endpointId)
    await restart()
    expect(kernelState()).toEqual(before)
    expect(await engine.attached()).toEqual([])
  })

  it('works when the namespace has gone already', async () => {
    const before = kernelState()
    const request = container(21)
    await engine.attach(request)
    run('ip', 'netns', 'del', 'container21')
    await engine.detach(request.endpointId)
    await restart()
    expect(kernelState()).toEqual(before)
  })
})

describe('attaching what cannot be attached', () => {
  it.each([
    ['a namespace that does not exist', '/run/netns/gone', 'NotFound'],
    ['a path that is no namespace', '/run/plain-file', 'InvalidInput'],
  ])('refuses %s and leaves nothing', async (_name, netns, code) => {
    writeFileSync('/run/plain-file', '')
    const before = kernelState()
    await expect(engine.attach({ ...container(30), netns })).rejects.toMatchObject({ code })
    run('ip', 'netns', 'del', 'container30')
    await restart()
    expect(kernelState()).toEqual(before)
  })

  it('refuses an interface name that the container already has', async () => {
    const before = kernelState()
    const request = container(31)
    runIn('container31', 'ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'x')
    await expect(engine.attach(request)).rejects.toMatchObject({ code: 'Conflict' })
    await restart()
    expect(kernelState()).toEqual(before)
  })
})

describe('the tree of classes', () => {
  it('is there while a floor is promised, with a class for everybody, and found again by a restarted engine', async () => {
    const [plain, gold, late] = [container(60), container(61, { bandwidthFloor: 100e6 }), container(62)]
    await engine.attach(plain)
    expect(kernelState().classes).toBe(0)
    await engine.attach(gold)
    await engine.attach(late)
    expect(kernelState().classes).toBe(2 + 3)
    expect(await engine.check(plain)).toEqual([])
    await restart()
    expect(kernelState().classes).toBe(2 + 3)
    await engine.detach(late.endpointId)
    await engine.shape(gold.endpointId, { bandwidthFloor: 0 })
    expect(kernelState().classes).toBe(0)
    await engine.shape(plain.endpointId, { bandwidthFloor: 50e6 })
    expect(await engine.check(gold)).toEqual([])
    await Promise.all([plain, gold].map((request) => engine.detach(request.endpointId)))
    await restart()
    expect(kernelState().classes).toBe(0)
  })

  it('does not matter for what is counted as delivered', async () => {
    const request = container(63)
    await engine.attach(request)
    expect(hasPing(request, wireAddress)).toBe(true)
    const counters = engine.counters().find((each) => each.endpointId === request.endpointId)!
    expect(counters.deliveredBytes).toBeGreaterThan(0)
    await engine.detach(request.endpointId)
    await restart()
  })
})

describe('floors and caps', () => {
  const cap = 50e6
  it('hold a cap in both directions, also between containers of one node', { timeout: 300_000 }, async () => {
    const [capped, free] = [container(40, { bandwidthCap: cap }), container(41)]
    await Promise.all([engine.attach(capped), engine.attach(free)])
    for (const to of ['container41', 'wire']) {
      const address = to === 'wire' ? wireAddress : '10.30.0.41'
      for (const direction of [[], ['-R']]) {
        const options = ['-t', '5', '-O', '1', ...direction]
        const rates: number[] = []
        const latest = async (): Promise<number> => {
          rates.push(await iperf({ from: 'container40', to, address, options }))
          return rates.at(-1)!
        }
        await expect.poll(latest, severalAttempts).toBeGreaterThan(cap * 0.8)
        expect(Math.max(...rates)).toBeLessThan(cap * 1.05)
      }
    }
    await Promise.all([capped, free].map((request) => engine.detach(request.endpointId)))
  })

  it(
    'hold a cap when the container removes its own shaper, and count what is dropped',
    { timeout: 30_000 },
    async () => {
      const [capped, free] = [container(42, { bandwidthCap: cap }), container(43)]
      await Promise.all([engine.attach(capped), engine.attach(free)])
      runIn('container42', 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root')
      const options = ['-u', '-b', '200M', '-t', '3', '-O', '1', '-l', '1400']
      const rate = await iperf({ from: 'container42', to: 'container43', address: '10.30.0.43', options })
      const sent = engine.counters().find((each) => each.endpointId === capped.endpointId)!
      expect(sent.drops.cap).toBeGreaterThan(1000)
      expect(rate).toBeLessThan(cap * 1.2)
      await Promise.all([capped, free].map((request) => engine.detach(request.endpointId)))
    },
  )

  it('keep a floor against a flood, and count the windows in which it was delivered', { timeout: 120_000 }, async () => {
    await engine.stop()
    engine = await startEngine(200e6)
    const [gold, neighbour] = [container(50, { bandwidthFloor: 120e6 }), container(51)]
    await Promise.all([engine.attach(gold), engine.attach(neighbour)])
    const flood = ['nsenter', `--net=${neighbour.netns}`, 'ping', '-q', '-f', '-s', '1400', '-l', '200', '-w', '5', wireAddress]
    const windowsOfGold = (): Windows => engine.counters().find((each) => each.endpointId === gold.endpointId)!.windows
    const attempt = async (): Promise<object> => {
      const before = windowsOfGold()
      const flooding = [1, 2, 3].map(() => spawn(flood[0]!, flood.slice(1)))
      const rate = await iperf({ from: 'container50', to: 'wire', address: wireAddress, options: ['-t', '4', '-O', '1'] })
      for (const child of flooding) child.kill()
      const { withDemand, attained } = windowsBetween(before, windowsOfGold())
      return { isKept: rate > 120e6 * 0.93, withDemand, missed: withDemand - attained }
    }
    const severalWindows = expect.toSatisfy((count: number) => count >= 3) as number
    await expect.poll(attempt, severalAttempts).toEqual({ isKept: true, withDemand: severalWindows, missed: 0 })
    await Promise.all([gold, neighbour].map((request) => engine.detach(request.endpointId)))
  }) // prettier-ignore
})
