import { existsSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import { DriftWatch } from '../../src/network/drift-watch.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import type { EventNotice } from '../../src/store/index.ts'
import { container, makeNode, pins, startEngine, wireAddress } from '../support/one-node.ts'
import { enterOwnNamespaces, run, runIn, succeeds } from '../support/own-namespaces.ts'

/**
 * Everything that an endpoint and its node consist of in the kernel, part by part: each is damaged by hand and must be as
 * it was after the next look, of which there is one every two seconds (drift.test.ts).
 */
let engine: NetworkEngine
let watch: DriftWatch
let request: AttachRequest
let host: string
let slot: number
const events: EventNotice[] = []
const limited = { macAddress: '02:00:00:00:00:99', vlan: 0 }

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  engine = await startEngine(1e9, [{ plane: 'storage', rate: 100e6, vlan: 30 }])
  request = container(60, {
    bandwidthFloor: 200e6,
    bandwidthCap: 500e6,
    routingTable: 1060,
    addresses: [
      { address: '10.30.0.60', prefixLength: 24, gateway: wireAddress },
      { address: 'fd00:30::60', prefixLength: 64 },
    ],
  })
  host = (await engine.attach(request)).hostInterface
  slot = Number(host.slice(3))
  await engine.receiving!.limit(limited, 50e6, 600_000)
  watch = new DriftWatch({
    nodeName: 'n1',
    engine,
    attached: () => [{ endpointId: request.endpointId, namespace: 'default', name: 'parts', request }],
    attachAgain: () => void engine.attach(request),
    events: { record: (event) => events.push(event) },
    logger: silentLogger(),
    secondLook: 20,
  })
  await watch.tick()
})
afterAll(async () => {
  await watch.stop()
  await engine.stop()
})

const inside = (...command: string[]): string => runIn(request.containerId, ...command)
const hex = (number: number): string => number.toString(16)
const hostLink = (): string => run('ip', '-o', '-d', 'link', 'show', host).replaceAll(/(state|mode|qlen) \S+/g, '')
const kernelOf = {
  'host end': hostLink,
  'queue of the host end': () => run('tc', 'qdisc', 'show', 'dev', host).replaceAll(/tbf \S+:/g, 'tbf'),
  'program of the host end': () => /id \d+/.exec(run('tc', 'filter', 'show', 'dev', host, 'ingress'))?.[0],
  'interface in the container': () => inside('ip', '-o', 'link', 'show', 'eth0').replaceAll(/(state|mode) \S+/g, ''),
  'queue in the container': () => inside('tc', 'qdisc', 'show', 'dev', 'eth0').replaceAll(/qdisc tbf \S+:/g, ''),
  'addresses': () => inside('ip', '-o', 'address', 'show', 'dev', 'eth0', 'scope', 'global').replaceAll(/(valid_lft|scope global noprefixroute).*/g, '').split('\n').sort().join('\n'),
  'routes': () => inside('ip', 'route', 'show', 'table', 'main').replaceAll(/ (proto|src) \S+/g, ''),
  'rules': () => `${inside('ip', 'rule', 'show')}${inside('ip', '-6', 'rule', 'show')}`,
  'routes of its table': () => `${inside('ip', 'route', 'show', 'table', '1060')}${inside('ip', '-6', 'route', 'show', 'table', '1060')}`.replaceAll(/ (proto|src) \S+/g, ''),
  'entry of its slot': () => run('bpftool', 'map', 'lookup', 'pinned', `${pins}/maps/endpoints`, 'key', ...keyOf(slot)),
  'its counters': () => `in use ${run('bpftool', '-j', 'map', 'lookup', 'pinned', `${pins}/maps/counters`, 'key', ...keyOf(slot)).includes('"value":["0x01"')}`,
  'entry of its MAC': () => run('bpftool', 'map', 'dump', 'pinned', `${pins}/maps/forwarding`),
  'classes of the uplink': () => run('tc', 'class', 'show', 'dev', 'eth0').split('\n').sort().join('\n'),
  'filters of planes': () => run('tc', 'filter', 'show', 'dev', 'eth0'),
  'limiter': () => ['cblimit0', 'cblimit1'].map((name) => `${name} ${run('ip', '-o', 'link', 'show', name).includes('UP') ? 'up' : 'down'}`).join(),
  'classes of the limiter': () => run('tc', 'class', 'show', 'dev', 'cblimit0'),
  'program of the limiter': () => /id \d+/.exec(run('tc', 'filter', 'show', 'dev', 'cblimit1', 'ingress'))?.[0],
} // prettier-ignore
const keyOf = (number: number): string[] => ['hex', hex(number & 255), hex(number >> 8), '0', '0']

type Part = keyof typeof kernelOf
const pinNames = [
  'maps/endpoints',
  'maps/forwarding',
  'maps/buckets',
  'maps/configuration',
  'from_endpoint',
  'from_wire',
  'send_frame',
]

describe('a part that is damaged by hand is as it was after the next look, and told', () => {
  it.each<[Part, string, string, () => unknown]>([
    ['host end', 'renamed', 'HostEndRenamed', () => run('ip', 'link', 'set', 'dev', host, 'name', 'other0')],
    ['host end', 'down', 'HostEndDown', () => run('ip', 'link', 'set', host, 'down')],
    ['host end', 'with another MTU', 'HostEndMtu', () => run('ip', 'link', 'set', host, 'mtu', '1300')],
    ['host end', 'without its alias', 'AliasChanged', () => run('ip', 'link', 'set', host, 'alias', 'mine')],
    ['queue of the host end', 'removed', 'CapMissing', () => run('tc', 'qdisc', 'del', 'dev', host, 'root')],
    ['queue of the host end', 'with another rate', 'CapMissing', () => run('tc', 'qdisc', 'replace', 'dev', host, 'root', 'tbf', 'rate', '1Mbit', 'burst', '10k', 'limit', '100k')],
    ['program of the host end', 'filter removed', 'FilterMissing', () => run('tc', 'filter', 'del', 'dev', host, 'ingress')],
    ['program of the host end', 'hooks removed', 'FilterMissing', () => run('tc', 'qdisc', 'del', 'dev', host, 'clsact')],
    ['interface in the container', 'down', 'InterfaceDown', () => inside('ip', 'link', 'set', 'eth0', 'down')],
    ['interface in the container', 'with another MAC', 'MacChanged', () => inside('ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:99:98')],
    ['interface in the container', 'with another MTU', 'MtuChanged', () => inside('ip', 'link', 'set', 'eth0', 'mtu', '1400')],
    ['queue in the container', 'removed', 'ShaperMissing', () => inside('tc', 'qdisc', 'del', 'dev', 'eth0', 'root')],
    ['addresses', 'IPv4 removed', 'AddressMissing', () => inside('ip', 'address', 'del', '10.30.0.60/24', 'dev', 'eth0')],
    ['addresses', 'IPv6 removed', 'AddressMissing', () => inside('ip', 'address', 'del', 'fd00:30::60/64', 'dev', 'eth0')],
    ['routes', 'default route removed', 'RouteMissing', () => inside('ip', 'route', 'del', 'default')],
    ['routes', 'subnet route removed', 'RouteMissing', () => inside('ip', 'route', 'del', '10.30.0.0/24')],
    ['rules', 'removed', 'SourceRouteMissing', () => inside('ip', 'rule', 'del', 'table', '1060')],
    ['routes of its table', 'removed', 'SourceRouteMissing', () => inside('ip', 'route', 'flush', 'table', '1060')],
    ['entry of its slot', 'zeroed', 'EntryChanged', () => run('bpftool', 'map', 'update', 'pinned', `${pins}/maps/endpoints`, 'key', ...keyOf(slot), 'value', 'hex', ...Array.from({ length: 80 }, () => '0'))],
    ['its counters', 'zeroed', 'CountersLost', () => run('bpftool', 'map', 'update', 'pinned', `${pins}/maps/counters`, 'key', ...keyOf(slot), 'value', 'hex', ...Array.from({ length: 384 }, () => '0'))],
    ['entry of its MAC', 'deleted', 'ForwardingChanged', () => run('bpftool', 'map', 'delete', 'pinned', `${pins}/maps/forwarding`, 'key', 'hex', ...request.macAddress.split(':'), '0', '0')],
    ['classes of the uplink', 'class deleted', 'ClassesChanged', () => run('tc', 'class', 'del', 'dev', 'eth0', 'classid', `1:${hex(slot)}`)],
    ['classes of the uplink', 'class of a plane changed', 'ClassesChanged', () => run('tc', 'class', 'change', 'dev', 'eth0', 'classid', '1:fffc', 'htb', 'rate', '1Mbit')],
    ['classes of the uplink', 'another queue in the place of the tree', 'ClassesChanged', () => run('tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'pfifo')],
    ['filters of planes', 'removed', 'ClassesChanged', () => run('tc', 'filter', 'del', 'dev', 'eth0', 'parent', '1:')],
    ['limiter', 'deleted', 'LimiterChanged', () => run('ip', 'link', 'del', 'cblimit0')],
    ['limiter', 'near end down', 'LimiterChanged', () => run('ip', 'link', 'set', 'cblimit0', 'down')],
    ['limiter', 'far end down', 'LimiterChanged', () => run('ip', 'link', 'set', 'cblimit1', 'down')],
    ['classes of the limiter', 'class deleted', 'LimiterChanged', () => run('tc', 'class', 'del', 'dev', 'cblimit0', 'classid', '1:1')],
    ['classes of the limiter', 'tree deleted', 'LimiterChanged', () => run('tc', 'qdisc', 'del', 'dev', 'cblimit0', 'root')],
    ['program of the limiter', 'filter removed', 'LimiterChanged', () => run('tc', 'filter', 'del', 'dev', 'cblimit1', 'ingress')],
    ['program of the limiter', 'hooks removed', 'LimiterChanged', () => run('tc', 'qdisc', 'del', 'dev', 'cblimit1', 'clsact')],
  ])('%s: %s', async (part, _how, reason, damage) => {
    const read = (): string | undefined => {
      try {
        return kernelOf[part]()
      } catch {
        return 'not there'
      }
    }
    const before = read()
    expect(before).toMatch(/\w/)
    const told = events.length
    damage()
    expect(read(), 'the damage').not.toBe(before)
    await watch.tick()
    expect(read()).toBe(before)
    expect(events.slice(told).map((event) => event.reason)).toContain(reason)
  }) // prettier-ignore

  it.each(pinNames)('pin %s removed', async (name) => {
    const found = run('sh', '-c', `ls -d ${pins}/${name} ${pins}/v*/${name} 2> /dev/null || true`).trim()
    rmSync(found)
    await watch.tick()
    expect(existsSync(found)).toBe(true)
    expect(events.at(-1)?.reason).toBe('PinMissing')
  })

  it('a queue that nobody asked for goes', async () => {
    await engine.shape(request.endpointId, { bandwidthFloor: 200e6 })
    request = { ...request, bandwidthCap: undefined }
    run('tc', 'qdisc', 'add', 'dev', host, 'root', 'pfifo', 'limit', '1')
    await watch.tick()
    expect(run('tc', 'qdisc', 'show', 'dev', host)).not.toContain('pfifo')
    expect(events.at(-1)?.reason).toBe('QueueAdded')
  })

  it('then nothing is wrong, the endpoint works, and the next engine finds everything', async () => {
    expect(watch.problems()).toEqual([])
    expect(await engine.check(request)).toEqual([])
    expect(succeeds('nsenter', `--net=${request.netns}`, 'ping', '-q', '-c', '1', '-W', '1', wireAddress)).toBe(true)
    await watch.stop()
    await engine.stop()
    engine = await startEngine(1e9, [{ plane: 'storage', rate: 100e6, vlan: 30 }])
    expect(engine.findDrift([request], new Set([request.endpointId]))).toEqual([])
  })
})
