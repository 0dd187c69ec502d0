import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AttachRequest, NetworkEngine, UplinkLimits } from '../../src/network/engine.ts'
import { container, makeNode, startEngine, wireAddress } from '../support/one-node.ts'
import { enterOwnNamespaces, run, succeeds } from '../support/own-namespaces.ts'

let engine: NetworkEngine

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  engine = await startEngine()
})

afterAll(() => engine.stop())

const link = (linkRate: number, reserves: UplinkLimits['reserves'] = []): UplinkLimits => ({ linkRate, reserves })

/** Rates in Mbit/s of the classes on the uplink by their minor number, as the kernel has them. */
function classRates(): Record<string, number> {
  const units: Record<string, number> = { bit: 1e-6, Kbit: 1e-3, Mbit: 1, Gbit: 1e3 }
  const classes = run('tc', 'class', 'show', 'dev', 'eth0').matchAll(/^class htb 1:(\S+) .*? rate (\d+)(\w+) /gm)
  return Object.fromEntries([...classes].map(([, minor, rate, unit]) => [minor!, Number(rate) * units[unit!]!]))
}

const hasPing = (from: AttachRequest): boolean =>
  succeeds('nsenter', `--net=${from.netns}`, 'ping', '-q', '-c', '1', '-W', '1', wireAddress)

/** Frames that a class has sent on. */
function framesOf(minor: string): number {
  const text = run('tc', '-s', 'class', 'show', 'dev', 'eth0')
  return Number(new RegExp(`class htb 1:${minor} [^]*?Sent \\d+ bytes (\\d+) pkt`).exec(text)?.[1])
}

/** The node itself sends a frame with an 802.1Q tag in it. */
function sendTagged(vlan: number): void {
  const frame = `b'\\xff'*6 + b'\\x02'*6 + struct.pack('!HHH', 0x8100, ${vlan}, 0x88b5) + bytes(46)`
  run('python3', '-c', `import socket, struct; s = socket.socket(17, 3); s.bind(('eth0', 0)); s.send(${frame})`)
}

describe('floors on a link that changes', () => {
  let gold: AttachRequest
  let silver: AttachRequest
  let rest: AttachRequest

  beforeAll(async () => {
    gold = container(10, { bandwidthFloor: 600e6 })
    silver = container(11, { bandwidthFloor: 300e6 })
    rest = container(12)
    for (const request of [gold, silver, rest]) await engine.attach(request)
  })
  afterAll(async () => {
    for (const { endpointId } of [gold, silver, rest]) await engine.detach(endpointId)
  })

  /** Rates of gold, silver and rest. */
  const rates = async (): Promise<(number | undefined)[]> => {
    const attached = await engine.attached()
    const all = classRates()
    return [gold, silver, rest].map(({ endpointId }) => {
      const { hostInterface } = attached.find((each) => each.endpointId === endpointId)!
      return all[Number(hostInterface.slice(3)).toString(16)]
    })
  }

  it('are kept in proportion while it is too slow for them, and whole when it is back', async () => {
    expect(await rates()).toEqual([600, 300, 0.064])
    await engine.changeUplink(link(500e6))
    expect(classRates()).toMatchObject({ ffff: 490, fffe: 10 })
    expect(await rates()).toEqual([313.333, 156.666, 0.064].map((rate) => expect.closeTo(rate, 2)))
    await engine.changeUplink(link(1e9))
    expect(await rates()).toEqual([600, 300, 0.064])
    expect(classRates()).toMatchObject({ ffff: 980, fffe: 20 })
  })

  it('give way together when another comes, and get it back when it goes', async () => {
    await engine.changeUplink(link(500e6))
    const other = container(13, { bandwidthFloor: 900e6 })
    await engine.attach(other)
    expect((await rates())[0]).toBeCloseTo((600 * 470) / 1800, 1)
    await engine.shape(other.endpointId, { bandwidthFloor: 0 })
    expect((await rates())[0]).toBeCloseTo((600 * 470) / 900, 1)
    await engine.detach(other.endpointId)
    await engine.changeUplink(link(1e9))
  })

  it('stay as they are while it has no carrier, and through a restart of the agent', async () => {
    await engine.changeUplink(link(500e6))
    await engine.changeUplink(link(0))
    expect((await rates())[0]).toBeCloseTo(313.333, 1)
    await engine.stop()
    engine = await startEngine(500e6)
    expect((await rates())[0]).toBeCloseTo(313.333, 1)
    await engine.changeUplink(link(1e9))
    expect(await rates()).toEqual([600, 300, 0.064])
  })

  it('are there again on a device that was made anew under its name', async () => {
    expect(hasPing(gold)).toBe(true)
    run('ip', 'link', 'del', 'eth0')
    run('ip', 'netns', 'del', 'wire')
    makeNode()
    expect(hasPing(gold)).toBe(false)
    await engine.changeUplink(link(1e9))
    run('nsenter', `--net=${gold.netns}`, 'ip', 'neigh', 'flush', 'dev', 'eth0') // the host has a new MAC too
    expect(hasPing(gold)).toBe(true)
    expect(await rates()).toEqual([600, 300, 0.064])
  })
})

describe('another uplink', () => {
  it('is taken by a restarted agent; of the old one nothing is left', async () => {
    const gold = container(20, { bandwidthFloor: 100e6 })
    await engine.attach(gold)
    const trees = (): string[] =>
      [...run('tc', 'qdisc', 'show').matchAll(/^qdisc htb 1: dev (\S+)/gm)].map(([, device]) => device!)
    expect(trees()).toEqual(['eth0'])
    await engine.stop()
    run('ip', 'link', 'set', 'eth0', 'name', 'old0')
    run('ip', 'netns', 'add', 'attic')
    run('ip', '-n', 'wire', 'link', 'set', 'port', 'netns', 'attic')
    run('ip', 'netns', 'del', 'wire')
    makeNode()
    expect(trees()).toEqual(['old0'])
    engine = await startEngine()
    expect(trees()).toEqual(['eth0'])
    expect(hasPing(gold)).toBe(true)
    await engine.detach(gold.endpointId)
  })
})

describe('a plane on the link of containers', () => {
  it('has classes of its own without any floor, by its tag, and none when nothing is kept for it', async () => {
    await expect.poll(() => classRates(), { timeout: 5_000 }).toEqual({})
    const container14 = container(14)
    await engine.attach(container14)
    expect(classRates()).toEqual({})
    await engine.changeUplink(
      link(1e9, [
        { plane: 'management', rate: 50e6 },
        { plane: 'storage', rate: 300e6, vlan: 30 },
      ]),
    )
    expect(classRates()).toMatchObject({ fffe: 50, fffc: 300 })
    expect(Object.keys(classRates())).toHaveLength(4) // and one for the container
    const before = framesOf('fffc')
    sendTagged(30)
    expect(framesOf('fffc')).toBe(before + 1)
    sendTagged(31)
    expect(framesOf('fffc')).toBe(before + 1)
    await engine.changeUplink(link(1e9, [{ plane: 'storage', rate: 200e6, vlan: 31 }]))
    sendTagged(31)
    expect(framesOf('fffc')).toBe(before + 2)
    await engine.changeUplink(link(1e9, [{ plane: 'management', rate: 50e6, vlan: 20 }]))
    expect(Object.keys(classRates()).sort()).toEqual(expect.arrayContaining(['fffd', 'fffe', 'ffff']))
    expect(classRates()).not.toHaveProperty('fffc')
    await engine.changeUplink(link(1e9))
    expect(classRates()).toEqual({})
    await engine.detach(container14.endpointId)
  })
})
