import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import type { DropReason, NetworkEngine } from '../../src/network/engine.ts'
import { closeBpf, openPinned, runProgram } from '../../src/network/soft-vf/bpf-system-call.ts'
import { createSoftVfEngine } from '../../src/network/soft-vf/index.ts'
import { arp, behindHopByHop, ethernet, ipv4, ipv6, neighbour } from '../support/frames.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

const own = { mac: '02:00:00:00:00:0a', ipv4: '10.30.0.10', ipv6: 'fd00:30::10', linkLocal: 'fe80::ff:fe00:a' }
const other = { mac: '02:00:00:00:00:0b', ipv4: '10.30.0.11', ipv6: 'fd00:30::11' }
const broadcast = 'ff:ff:ff:ff:ff:ff'
const pins = '/sys/fs/bpf/carbonado'
const verdict = { redirect: 7, shot: 2 }
const icmpv6 = 58

let engine: NetworkEngine
let program: number
const endpointId = randomUUID()

function send(frame: Buffer): number {
  const context = Buffer.alloc(192)
  context.writeUInt32LE(65537, 40) // __sk_buff ifindex: the host side of the endpoint in slot 1
  return runProgram(program, frame, context).returnValue
}

function drops(): Record<DropReason, number> {
  return engine.counters().find((counters) => counters.endpointId === endpointId)!.drops
}

beforeAll(async () => {
  enterOwnNamespaces()
  run('ip', 'netns', 'add', 'wire')
  run('ip', 'netns', 'add', 'container')
  run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'port', 'netns', 'wire')
  run('ip', 'link', 'set', 'eth0', 'up')
  engine = createSoftVfEngine({
    uplink: 'eth0',
    limits: { linkRate: 1e9, reserves: [] },
    objects: 'build/bpf',
    pins,
    logger: silentLogger(),
  })
  await engine.start()
  await engine.attach({
    endpointId,
    endpointName: 'default/own',
    containerId: 'own',
    netns: '/run/netns/container',
    interfaceName: 'eth0',
    macAddress: own.mac,
    addresses: [
      { address: own.ipv4, prefixLength: 24 },
      { address: own.ipv6, prefixLength: 64 },
    ],
    vlan: 100,
    bandwidthFloor: 0,
  })
  const version = readdirSync(pins).find((name) => /^v[0-9a-f]+$/.test(name))!
  program = openPinned(`${pins}/${version}/from_endpoint`)
})

afterAll(async () => {
  closeBpf(program)
  await engine.stop()
})

describe('what an endpoint may send', () => {
  const passes: [string, Buffer][] = [
    ['IPv4 from its address', ethernet(other.mac, own.mac, 0x0800, ipv4(own.ipv4, other.ipv4))],
    ['an ARP request for a neighbour', ethernet(broadcast, own.mac, 0x0806, arp(1, own.mac, own.ipv4, other.ipv4))],
    ['an ARP reply for itself', ethernet(other.mac, own.mac, 0x0806, arp(2, own.mac, own.ipv4, other.ipv4))],
    ['an ARP probe', ethernet(broadcast, own.mac, 0x0806, arp(1, own.mac, '0.0.0.0', own.ipv4))],
    ['IPv6 from its address', ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, 17, Buffer.alloc(8)))],
    [
      'IPv6 from its link-local address',
      ethernet(other.mac, own.mac, 0x86dd, ipv6(own.linkLocal, other.ipv6, 17, Buffer.alloc(8))),
    ],
    [
      'a neighbour advertisement of its address',
      ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, icmpv6, neighbour(136, own.ipv6, 2, own.mac))),
    ],
    [
      'a neighbour solicitation for a neighbour',
      ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, icmpv6, neighbour(135, other.ipv6, 1, own.mac))),
    ],
  ]
  it.each(passes)('%s', (_name, frame) => expect(send(frame)).toBe(verdict.redirect))
})

describe('what is dropped, and counted under its reason', () => {
  const advertisement = neighbour(136, other.ipv6, 2, own.mac)
  const routerAdvertisement = Buffer.concat([Buffer.from([134]), Buffer.alloc(15)])
  const refused: [DropReason, string, Buffer][] = [
    ['spoofed-mac', 'another source MAC', ethernet(other.mac, other.mac, 0x0800, ipv4(own.ipv4, other.ipv4))],
    ['spoofed-ip', 'another IPv4 source', ethernet(other.mac, own.mac, 0x0800, ipv4(other.ipv4, own.ipv4))],
    ['spoofed-ip', 'IPv4 source 0.0.0.0', ethernet(other.mac, own.mac, 0x0800, ipv4('0.0.0.0', other.ipv4))],
    ['spoofed-ip', 'another IPv6 source', ethernet(other.mac, own.mac, 0x86dd, ipv6(other.ipv6, own.ipv6, 17, Buffer.alloc(8)))],
    ['spoofed-arp', 'an ARP reply for a neighbour', ethernet(broadcast, own.mac, 0x0806, arp(2, own.mac, other.ipv4, own.ipv4))],
    ['spoofed-arp', "an ARP reply with a neighbour's MAC", ethernet(broadcast, own.mac, 0x0806, arp(2, other.mac, own.ipv4, own.ipv4))],
    ['spoofed-arp', 'an ARP reply from 0.0.0.0', ethernet(broadcast, own.mac, 0x0806, arp(2, own.mac, '0.0.0.0', own.ipv4))],
    ['spoofed-nd', 'an advertisement for a neighbour', ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, icmpv6, advertisement))],
    [
      'spoofed-nd',
      'an advertisement hidden behind an extension header',
      ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, 0, behindHopByHop(advertisement))),
    ],
    [
      'spoofed-nd',
      "an advertisement with a neighbour's MAC",
      ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, icmpv6, neighbour(136, own.ipv6, 2, other.mac))),
    ],
    ['spoofed-nd', 'a router advertisement', ethernet(other.mac, own.mac, 0x86dd, ipv6(own.linkLocal, 'ff02::1', icmpv6, routerAdvertisement))],
    [
      'spoofed-nd',
      "duplicate address detection of a neighbour's address",
      ethernet('33:33:00:00:00:01', own.mac, 0x86dd, ipv6('::', 'ff02::1', icmpv6, neighbour(135, other.ipv6, 14, own.mac))),
    ],
    ['vlan-tag', 'a frame with a VLAN tag of its own', ethernet(other.mac, own.mac, 0x8100, Buffer.from([0, 200, 8, 0]))],
    ['protocol', 'spanning tree', ethernet('01:80:c2:00:00:00', own.mac, 0x0026, Buffer.alloc(40))],
    ['malformed', 'an IPv4 header that is too short', ethernet(other.mac, own.mac, 0x0800, Buffer.concat([Buffer.from([0x44]), ipv4(own.ipv4, other.ipv4).subarray(1)]))],
    ['malformed', 'a neighbour advertisement cut off', ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, icmpv6, advertisement.subarray(0, 20)))],
  ] // prettier-ignore
  it.each(refused)('%s: %s', (reason, _name, frame) => {
    const before = drops()
    expect(send(frame)).toBe(verdict.shot)
    expect(drops()).toEqual({ ...before, [reason]: before[reason] + 1 })
  })
})

describe('whatever frame is sent', () => {
  it('passes only under its own MAC and addresses', () => {
    const real = fc.constantFrom(
      ethernet(other.mac, own.mac, 0x0800, ipv4(own.ipv4, other.ipv4)),
      ethernet(broadcast, own.mac, 0x0806, arp(1, own.mac, own.ipv4, other.ipv4)),
      ethernet(other.mac, own.mac, 0x86dd, ipv6(own.ipv6, other.ipv6, icmpv6, neighbour(136, own.ipv6, 2, own.mac))),
    )
    const change = fc.tuple(fc.nat(53), fc.nat(255))
    fc.assert(
      fc.property(
        real,
        fc.array(change, { maxLength: 4 }),
        fc.integer({ min: 54, max: 86 }),
        (frame, changes, length) => {
          const mutated = Buffer.from(frame.subarray(0, length))
          for (const [at, value] of changes) if (at < mutated.length) mutated[at] = value
          return send(mutated) !== verdict.redirect || isHonest(mutated)
        },
      ),
      { numRuns: 20_000 },
    )
  })
})

/** The same question, asked by independent code: does the frame speak for its sender only? */
function isHonest(frame: Buffer): boolean {
  const at = (from: number, length: number): string => frame.toString('hex', from, from + length)
  const mac = own.mac.replaceAll(':', '')
  if (at(6, 6) !== mac) return false
  const type = frame.readUInt16BE(12)
  if (type === 0x0800) return at(26, 4) === '0a1e000a'
  if (type === 0x0806) return at(22, 6) === mac && ['0a1e000a', '00000000'].includes(at(28, 4))
  if (type === 0x86dd) return ['fd000030', 'fe800000', '00000000'].includes(at(22, 4))
  return false
}
