import { describe, expect, it } from 'vitest'
import type { PathFacts } from '../path/path-facts.ts'
import { judgePath, walkPath, type PathEnd, type PathKnowledge, type PathVerdict } from './path-walk.ts'

function facts(number: number, change: Partial<PathFacts> = {}): PathFacts {
  const macAddress = `02:00:00:00:00:0${number}`
  const address = `10.30.0.${number}`
  return {
    expected: { interfaceName: 'eth0', macAddress, addresses: [address], vlan: 100 },
    found: { isUp: true, macAddress, mtu: 1496, addresses: [address, 'fe80::1'] },
    problems: [],
    route: { device: 'eth0', source: address },
    uplink: { interface: 'eth0', carrier: true, mtu: 1500 },
    heardFromPeer: 1_200,
    counters: { sentPackets: 10, receivedPackets: 10, drops: {} },
    ...change,
  }
}

function end(title: string, number: number, change: Partial<PathFacts> = {}): PathEnd {
  return {
    title,
    address: `10.30.0.${number}`,
    endpoint: { state: 'Attached', nodeName: `n${number}`, isNodeReady: true, networkName: 'blue', vlan: 100 },
    facts: facts(number, change),
  }
}

const answered = { nextHopMac: '02:00:00:00:00:02', echoAfter: 0.2, dropped: {} }
const silent = { dropped: {}, arrived: 0 }

function verdict(knowledge: Partial<PathKnowledge>): PathVerdict {
  const whole = { from: end('web', 1), to: end('db', 2), ...knowledge }
  return judgePath(whole, walkPath(whole))
}

describe('a packet arrives', () => {
  it('when real frames did, whatever the facts make one fear', () => {
    expect(verdict({ probe: answered })).toEqual({ outcome: 'arrives', sentence: 'packets from web arrive at db' })
    const from = end('web', 1, { heardFromPeer: null })
    const whole = { from, to: end('db', 2, { heardFromPeer: 90_000 }), probe: answered }
    expect(judgePath(whole, walkPath(whole)).outcome).toBe('arrives')
    expect(walkPath(whole).filter(({ outcome }) => outcome === 'warns')).toHaveLength(1)
    expect(walkPath(whole).some(({ outcome }) => outcome === 'drops')).toBe(false)
  })

  it('when nothing is in the way and no frames were sent', () => {
    expect(verdict({ noProbe: '--no-probe' })).toMatchObject({
      outcome: 'arrives',
      sentence: 'nothing is in the way of packets from web to db',
    })
  })

  it('when the receiver answers for its address and not to ping', () => {
    const whole = { from: end('web', 1), to: end('db', 2), probe: { nextHopMac: '02:00:00:00:00:02', dropped: {} } }
    expect(judgePath(whole, walkPath(whole)).outcome).toBe('arrives')
    expect(walkPath(whole).at(-1)).toMatchObject({ outcome: 'warns', advice: 'A firewall in the container is likely.' })
  })

  it('by way of a gateway between VLANs', () => {
    const from = end('web', 1, { route: { device: 'eth0', source: '10.30.0.1', gateway: '10.30.0.254' } })
    const to = end('db', 2)
    to.facts!.expected = { ...to.facts!.expected, vlan: 200 }
    to.facts!.heardFromPeer = null
    expect(verdict({ from, to, probe: answered }).outcome).toBe('arrives')
    expect(verdict({ from, to }).outcome).toBe('arrives')
  })

  it('on one node, without the wire', () => {
    const to = end('db', 2, { heardFromPeer: null, uplink: { interface: 'eth0', carrier: false, mtu: 1500 } })
    to.endpoint!.nodeName = 'n1'
    const from = end('web', 1)
    expect(verdict({ from, to }).outcome).toBe('arrives')
    expect(walkPath({ from, to }).map(({ hop }) => hop)).toContain('wire')
  })

  it('with a remark when the receiver takes smaller packets', () => {
    const to = end('db', 2)
    to.facts!.found!.mtu = 1400
    expect(walkPath({ from: end('web', 1), to })).toContainEqual(
      expect.objectContaining({
        hop: 'MTU',
        outcome: 'warns',
        says: 'web sends up to 1496 bytes, db takes 1400: larger ones are lost',
      }),
    )
    expect(verdict({ to }).outcome).toBe('arrives')
  })
})

describe('a packet is dropped', () => {
  const found = facts(1).found!
  const cases: [string, Partial<PathKnowledge>, string][] = [
    ['no container holds the sender', { from: { title: 'web', endpoint: { state: 'Allocated', isNodeReady: false, networkName: 'blue' } } }, 'web attached: no container uses it: it is Allocated'],
    ['no container holds the receiver', { to: { title: 'db', endpoint: { state: 'Refused', isNodeReady: false, networkName: 'blue' } } }, 'db attached: no container uses it: it is Refused'],
    ['the node does not have it', { from: { ...end('web', 1), facts: undefined, isMissing: true } }, 'web attached: node n1 does not have it, although its object says so'],
    ['the interface is gone', { from: end('web', 1, { found: undefined }) }, 'web interface: eth0 is not in the container any more'],
    ['the interface is down', { from: end('web', 1, { found: { ...found, isUp: false } }) }, 'web interface: eth0 is down'],
    ['the address is gone', { from: end('web', 1, { found: { ...found, addresses: [] } }) }, 'web interface: eth0 lacks its address 10.30.0.1'],
    ['there is no route', { from: end('web', 1, { route: { problem: 'Network is unreachable' } }) }, 'route: the container knows no way: Network is unreachable'],
    ['the MAC is another one', { from: end('web', 1, { found: { ...found, macAddress: '02:00:00:00:00:99' } }) }, 'anti-spoofing: the container sends with MAC 02:00:00:00:00:99, its own is 02:00:00:00:00:01 (spoofed-mac)'],
    ['the source is another one', { from: end('web', 1, { route: { device: 'eth0', source: '10.30.0.66' } }) }, 'anti-spoofing: the container sends from 10.30.0.66, its own is 10.30.0.1 (spoofed-ip)'],
    ['the program is gone', { from: end('web', 1, { problems: [{ reason: 'ProgramMissing', message: 'no program on cbn1' }] }) }, "anti-spoofing: the node's part is broken: no program on cbn1"],
    ['the uplink of the sender is down', { from: end('web', 1, { uplink: { interface: 'eth0', carrier: false, mtu: 1500 } }) }, 'uplink of n1: eth0 has no carrier'],
    ['the uplink of the receiver is down', { to: end('db', 2, { uplink: { interface: 'bond0', carrier: false, mtu: 1500 } }) }, 'uplink of n2: bond0 has no carrier'],
    ['the VLAN is not carried any more', { to: end('db', 2, { heardFromPeer: 61_000 }) }, 'switches n1 to n2: VLAN 100 of n1 was last heard 61 s ago at n2'],
    ['the VLAN never was, and frames are lost', { to: end('db', 2, { heardFromPeer: null }), probe: silent }, 'real frames: nobody answers for db, and none arrived at n2: lost between the nodes'],
    ['the way back is not carried', { from: end('web', 1, { heardFromPeer: 20_000 }) }, 'switches n2 to n1: VLAN 100 of n2 was last heard 20 s ago at n1'],
    ['the forwarding entry is gone', { to: end('db', 2, { problems: [{ reason: 'ForwardingMissing', message: 'frames do not reach slot 2' }] }) }, 'n2 to db: frames do not reach slot 2'],
    ['the receiver has another MAC', { to: end('db', 2, { found: { ...facts(2).found!, macAddress: '02:00:00:00:00:77' } }) }, 'n2 to db: its interface has MAC 02:00:00:00:00:77, frames come to 02:00:00:00:00:02'],
    ['the interface of the receiver is down', { to: end('db', 2, { found: { ...facts(2).found!, isUp: false } }) }, 'db interface: eth0 is down'],
    ['real frames are spoofed', { probe: { dropped: { 'spoofed-arp': 3 }, arrived: 0 } }, 'real frames: node n1 dropped them: spoofed-arp 3'],
    ['real frames get lost between the nodes', { probe: silent }, 'real frames: nobody answers for db, and none arrived at n2: lost between the nodes'],
    ['real frames arrive and nobody answers', { probe: { dropped: {}, arrived: 3 } }, 'real frames: nobody answers for db, although frames arrive at its node'],
  ] // prettier-ignore
  it.each(cases)('when %s', (_what, knowledge, sentence) => {
    expect(verdict(knowledge)).toMatchObject({
      outcome: 'dropped',
      sentence: `packets from web to db are dropped: ${sentence}`,
      advice: expect.stringMatching(/\S/) as string,
    })
  })

  it('when it is on another VLAN and no gateway is asked', () => {
    const to = end('db', 2)
    to.facts!.expected = { ...to.facts!.expected, vlan: 200 }
    expect(verdict({ to }).sentence).toContain('network: db is on VLAN 200, the frame goes out on VLAN 100')
    const unseen: PathEnd = { ...to, facts: undefined, agentProblem: 'gone' }
    unseen.endpoint!.vlan = 200
    expect(verdict({ to: unseen }).outcome).toBe('dropped')
  })

  it('when the gateway does not pass it on', () => {
    const from = end('web', 1, { route: { device: 'eth0', source: '10.30.0.1', gateway: '10.30.0.254' } })
    const to = { title: '8.8.8.8', address: '8.8.8.8' }
    expect(verdict({ from, to, probe: { nextHopMac: '02:00:00:00:00:fe', dropped: {} } })).toMatchObject({
      outcome: 'dropped',
      sentence: expect.stringContaining('gateway 10.30.0.254 answers, 8.8.8.8 behind it does not') as string,
    })
  })
})

describe('it cannot be told', () => {
  const mute = (title: string, number: number): PathEnd => ({
    ...end(title, number),
    facts: undefined,
    agentProblem: 'connect ECONNREFUSED',
  })

  it('when the agent of the sender is dead', () => {
    expect(verdict({ from: mute('web', 1), noProbe: 'x' })).toMatchObject({
      outcome: 'unknown',
      sentence: 'it cannot be told: web attached: the agent of node n1 does not answer: connect ECONNREFUSED',
    })
  })

  it('when the agent of the receiver is dead, unless real frames arrive', () => {
    expect(verdict({ to: mute('db', 2) }).outcome).toBe('unknown')
    expect(verdict({ to: mute('db', 2), probe: answered }).outcome).toBe('arrives')
    expect(verdict({ to: mute('db', 2), probe: { dropped: {} } }).outcome).toBe('dropped')
  })

  it('when the VLAN was never heard and nothing was sent, as with a network that is seconds old', () => {
    expect(verdict({ to: end('db', 2, { heardFromPeer: null }), noProbe: '--no-probe' }).outcome).toBe('unknown')
  })

  it('when the packet leaves by another interface', () => {
    expect(verdict({ from: end('web', 1, { route: { device: 'eth1', source: '10.30.0.1' } }) }).outcome).toBe('unknown')
  })
})
