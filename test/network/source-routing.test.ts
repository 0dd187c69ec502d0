import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import { container, makeNode, startEngine } from '../support/one-node.ts'
import { enterOwnNamespaces, runIn, succeeds } from '../support/own-namespaces.ts'

const addressesOf = (number: number): AttachRequest['addresses'] => [
  { address: `10.30.0.${number}`, prefixLength: 24, gateway: '10.30.0.1' },
  { address: `fd00:30::${number}`, prefixLength: 64, gateway: 'fd00:30::1' },
]

/** Interface `eth1` of the container of a request, on VLAN 200. */
function secondInterface(first: AttachRequest, number: number): AttachRequest {
  return {
    ...first,
    endpointId: randomUUID(),
    endpointName: `${first.endpointName}-eth1`,
    interfaceName: 'eth1',
    macAddress: `02:00:00:00:01:${number.toString(16).padStart(2, '0')}`,
    addresses: addressesOf(number),
    vlan: 200,
    defaultRouteMetric: 101,
    routingTable: 1001,
  }
}

/** Whether one of the pings of three seconds is answered; ends with the first that is. */
const hasPing = (namespace: string, address: string): boolean =>
  succeeds('nsenter', `--net=/run/netns/${namespace}`, 'ping', '-q', '-c', '1', '-w', '3', address)

const defaultDevices = (namespace: string, family: '-4' | '-6'): string[] =>
  (
    JSON.parse(runIn(namespace, 'ip', family, '-json', 'route', 'show', 'default')) as {
      dev: string
      metric?: number
    }[]
  )
    .sort((one, other) => (one.metric ?? 0) - (other.metric ?? 0))
    .map(({ dev }) => dev)

const rules = (namespace: string): string[] =>
  ['-4', '-6'].flatMap((family) =>
    runIn(namespace, 'ip', family, 'rule')
      .split('\n')
      .filter((line) => /lookup 100/.test(line)),
  )

/**
 * The hardest case there is: one subnet on two VLANs, and in each a peer of the same address. Only the table of the
 * interface by which a request came in leads back to the peer that sent it.
 */
describe('two interfaces of one container', () => {
  let engine: NetworkEngine
  let first: AttachRequest
  let second: AttachRequest

  beforeAll(async () => {
    enterOwnNamespaces()
    makeNode()
    engine = await startEngine()
    first = container(10, { vlan: 100, addresses: addressesOf(10), defaultRouteMetric: 100, routingTable: 1000 })
    second = secondInterface(first, 11)
    const peers = [container(90, { vlan: 100 }), container(91, { vlan: 200 })]
    for (const peer of peers) await engine.attach({ ...peer, addresses: addressesOf(99) })
  })
  afterAll(() => engine.stop())

  it('answer by the interface on which they were asked, by IPv4 and IPv6', async () => {
    await Promise.all([first, second].map((request) => engine.attach(request)))
    for (const [peer, number] of [
      ['container90', 10],
      ['container91', 11],
    ] as const) {
      expect(hasPing(peer, `10.30.0.${number}`)).toBe(true)
      expect(hasPing(peer, `fd00:30::${number}`)).toBe(true)
    }
    expect(engine.counters().flatMap(({ drops }) => [drops['spoofed-ip'], drops['spoofed-mac']])).toEqual(Array(8).fill(0))
  }) // prettier-ignore

  it('are both whole by check, and attaching again adds nothing', async () => {
    const before = rules('container10')
    expect(before).toHaveLength(4)
    for (const request of [first, second]) {
      await engine.attach(request)
      expect(await engine.check(request)).toEqual([])
    }
    expect(rules('container10')).toEqual(before)
  })

  it('have their default route by the lowest metric', async () => {
    for (const family of ['-4', '-6'] as const) {
      expect(defaultDevices('container10', family)).toEqual(['eth0', 'eth1'])
    }
  })

  it('lose one without the other, and get it again with another table although the rules of the old one are still there', async () => {
    await engine.detach(second.endpointId)
    expect(hasPing('container90', '10.30.0.10')).toBe(true)
    expect(hasPing('container91', '10.30.0.11')).toBe(false)
    second = { ...secondInterface(first, 11), defaultRouteMetric: 50, routingTable: 1002 }
    runIn('container10', 'ip', 'route', 'add', 'unreachable', 'default', 'table', '1001')
    await engine.attach(second)
    expect(hasPing('container91', 'fd00:30::11')).toBe(true)
    expect(defaultDevices('container10', '-4')).toEqual(['eth1', 'eth0'])
    expect(defaultDevices('container10', '-6')).toEqual(['eth1', 'eth0'])
  })

  it('has a table missed by check, and given by attaching again', async () => {
    runIn('container10', 'ip', 'rule', 'del', 'pref', '1002')
    runIn('container10', 'ip', '-6', 'route', 'flush', 'table', '1002')
    expect((await engine.check(second)).map(({ reason }) => reason)).toEqual(['SourceRouteMissing'])
    expect(hasPing('container91', '10.30.0.11')).toBe(false)
    await engine.attach(second)
    expect(await engine.check(second)).toEqual([])
    expect(hasPing('container91', '10.30.0.11')).toBe(true)
  })
})

describe('a container with one interface', () => {
  it('gets its table when another interface comes', async () => {
    const engine = await startEngine()
    try {
      const first = container(20, { vlan: 100, addresses: addressesOf(20) })
      await engine.attach(first)
      expect(rules('container20')).toEqual([])
      const second = secondInterface(first, 21)
      await engine.attach(second)
      await engine.attach({ ...first, routingTable: 1000 })
      expect(hasPing('container90', '10.30.0.20')).toBe(true)
      expect(hasPing('container91', '10.30.0.21')).toBe(true)
    } finally {
      await engine.stop()
    }
  })
})
