import { describe, expect, it } from 'vitest'
import { zeroCounters } from '../counters.ts'
import type { LiveEndpoint, LiveUplink } from '../live-endpoint.ts'
import { noRates, type EndpointRates } from '../rates.ts'
import { explainSlowness, type SlowFacts, type SlowVerdict } from './slow-verdict.ts'

const idleUplink: LiveUplink = { interface: 'eth0', carrier: true, rate: 1e9, promised: 4e8, sent: 3e8, received: 1e8 }

function live(change: Partial<LiveEndpoint> = {}, rates: Partial<EndpointRates> = {}): LiveEndpoint {
  return {
    ...zeroCounters('uid-1'),
    namespace: 'default',
    name: 'web',
    containerId: 'c1',
    interfaceName: 'eth0',
    bandwidthFloor: 2e8,
    isLinkUp: true,
    lastSeconds: { withDemand: 0, attained: 0 },
    ...change,
    rates: { ...noRates, ...rates },
  }
}

function verdict(endpoint: LiveEndpoint | undefined, change: Partial<SlowFacts> = {}): SlowVerdict {
  return explainSlowness({ state: 'Attached', nodeName: 'n1', live: endpoint, uplink: idleUplink, ...change })
}

describe('the verdict', () => {
  it.each(['Pending', 'Allocated', 'Refused', 'Releasing'])('no container uses it (%s)', (state) => {
    expect(verdict(undefined, { state })).toMatchObject({
      code: 'NotAttached',
      sentence: expect.stringContaining(state) as string,
    })
  })

  it('the agent does not answer', () => {
    expect(verdict(undefined, { agentProblem: 'connect ECONNREFUSED' })).toMatchObject({
      code: 'AgentSilent',
      sentence: 'the agent of node n1 does not answer, so nothing is known: connect ECONNREFUSED',
    })
  })

  it('the node does not have it', () => {
    expect(verdict(undefined)).toMatchObject({ code: 'NotOnNode' })
  })

  it('the interface of the container is down', () => {
    expect(verdict(live({ isLinkUp: false }))).toMatchObject({
      code: 'LinkDown',
      sentence: expect.stringMatching(/^link is down: eth0 of the container/) as string,
    })
  })

  it('the uplink is down', () => {
    const uplink = { ...idleUplink, carrier: false }
    expect(verdict(live(), { uplink })).toMatchObject({
      code: 'UplinkDown',
      sentence: "link is down: the node's uplink eth0 has no carrier",
    })
  })

  it('frames are dropped as spoofed', () => {
    const rates = { sent: 1e6, drops: { 'spoofed-ip': 12, protocol: 3 } }
    expect(verdict(live({}, rates))).toMatchObject({
      code: 'Spoofed',
      sentence: 'frames are being dropped as spoofed: spoofed-ip 12 a second, protocol 3 a second',
    })
  })

  it('frames are dropped for what they are', () => {
    expect(verdict(live({}, { drops: { 'vlan-tag': 4 } }))).toMatchObject({
      code: 'Refused',
      sentence: 'frames are being dropped: vlan-tag 4 a second',
    })
  })

  it.each([
    ['sending at it', { sent: 1.95e8, delivered: 1.95e8, drops: {} }],
    ['receiving at it', { received: 1.9e8 }],
    ['losing frames at it', { sent: 1e8, drops: { cap: 7 } }],
  ])('its own cap: %s', (_what, rates) => {
    expect(verdict(live({ bandwidthFloor: 0, bandwidthCap: 2e8 }, rates))).toMatchObject({
      code: 'OwnCap',
      sentence: 'held by its own cap of 200 Mbit/s',
    })
  })

  it('the receiver is limited', () => {
    const held = [{ name: 'default/db', nodeName: 'n2', rate: 51_234_567 }]
    const losing = live({}, { sent: 5e7, delivered: 5e7, drops: { 'receiver-limit': 40 } })
    expect(verdict(losing, { held })).toMatchObject({
      code: 'ReceiverLimited',
      sentence:
        'the receiver is limited (node n2 takes 51.2 Mbit/s for default/db): 40 frames a second are too many for it',
    })
    expect(verdict(losing)).toMatchObject({ code: 'ReceiverLimited' })
    const waiting = live({}, { sent: 5e7, delivered: 5e7 })
    const many = ['x', 'y', 'z'].map((name) => ({ name, nodeName: 'n3', rate: 1e6 }))
    expect(verdict(waiting, { held: [...held, ...many] }).sentence).toBe(
      'the receiver is limited, if it is one of these: node n2 takes 51.2 Mbit/s for default/db, node n3 takes 1 Mbit/s for x and 2 more',
    )
    expect(verdict(live({ bandwidthFloor: 0 }), { held })).toMatchObject({ code: 'NothingSeen' })
  })

  it('the floor is missed with demand', () => {
    const lastSeconds = { withDemand: 9, attained: 4 }
    expect(verdict(live({ lastSeconds }, { sent: 1e8, delivered: 1e8 }))).toMatchObject({
      code: 'FloorMissed',
      sentence:
        'it wants its floor of 200 Mbit/s and gets 100 Mbit/s: the node missed it in 5 of the last 9 seconds with demand',
    })
  })

  it('the floor for receiving is missed with demand', () => {
    const windows = { withDemand: 6, attained: 2 }
    const receive = { promised: 2e8, delivered: 1.2e8, windows, lastSeconds: windows }
    expect(verdict(live({ receive }, { received: 1.2e8 }))).toMatchObject({
      code: 'ReceiveFloorMissed',
      sentence:
        'it may receive its floor of 200 Mbit/s and gets 120 Mbit/s: it was missed in 4 of the last 6 seconds with demand',
      advice: expect.stringContaining('dctl node check n1') as string,
    })
    const kept = { ...receive, lastSeconds: { withDemand: 6, attained: 6 } }
    expect(verdict(live({ receive: kept }, { sent: 2e8, received: 2e8 }))).toMatchObject({ code: 'NothingSeen' })
  })

  it('the uplink is full and it gets its floor', () => {
    const uplink = { ...idleUplink, sent: 9.5e8 }
    const lastSeconds = { withDemand: 10, attained: 10 }
    expect(verdict(live({ lastSeconds }, { sent: 2.1e8, delivered: 2.1e8 }), { uplink })).toMatchObject({
      code: 'UplinkFullWithFloor',
      sentence: "the node's uplink is full (950 Mbit/s of 1 Gbit/s) and it gets its floor",
    })
  })

  it('the uplink is full and it has no floor', () => {
    const uplink = { ...idleUplink, sent: 9.5e8 }
    expect(verdict(live({ bandwidthFloor: 0 }, { sent: 1e7, delivered: 1e7 }), { uplink })).toMatchObject({
      code: 'UplinkFullBestEffort',
      sentence: expect.stringContaining('it has no floor: it gets what the others leave') as string,
    })
  })

  it('the uplink is full of what is received', () => {
    const uplink = { ...idleUplink, received: 9.6e8 }
    expect(verdict(live({ bandwidthFloor: 0 }, { received: 5e7 }), { uplink })).toMatchObject({
      code: 'UplinkFullReceiving',
    })
  })

  it('the uplink is full of what is received, and it gets its floor', () => {
    const uplink = { ...idleUplink, received: 9.6e8 }
    expect(verdict(live({}, { received: 2.1e8 }), { uplink })).toMatchObject({
      code: 'UplinkFullWithFloor',
      sentence:
        "the node's uplink is full of what its containers receive (960 Mbit/s of 1 Gbit/s) and it gets its floor",
    })
  })

  it('its demand is below its floor, also on a full uplink', () => {
    const expected = {
      code: 'DemandBelowFloor',
      sentence: 'its demand is below its floor: it sends 50 Mbit/s of the 200 Mbit/s it may count on',
    }
    const endpoint = live({}, { sent: 5e7, delivered: 5e7 })
    expect(verdict(endpoint)).toMatchObject(expected)
    expect(verdict(endpoint, { uplink: { ...idleUplink, sent: 9.9e8 } })).toMatchObject(expected)
  })

  it('nothing wrong on this side', () => {
    for (const endpoint of [
      live({ bandwidthFloor: 0 }, { sent: 1e8, delivered: 1e8 }),
      live({ lastSeconds: { withDemand: 10, attained: 10 } }, { sent: 3e8, delivered: 3e8 }),
      live({ bandwidthFloor: 0, bandwidthCap: 1e9 }, { sent: 1e8 }),
    ]) {
      expect(verdict(endpoint)).toMatchObject({ code: 'NothingSeen', sentence: 'nothing wrong seen on this side' })
    }
  })

  it('an older agent that tells less is no trouble', () => {
    const { lastSeconds: _lastSeconds, ...older } = live({ bandwidthFloor: 0 })
    expect(verdict(older, { uplink: undefined })).toMatchObject({ code: 'NothingSeen' })
    expect(verdict(live({}, { sent: 2e8 }), { uplink: { ...idleUplink, rate: 0 } })).toMatchObject({
      code: 'NothingSeen',
    })
  })
})
