import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import { programsAhead } from '../../src/network/soft-vf/bpf-system-call.ts'
import { placeOf } from '../../src/network/soft-vf/forwarding-table.ts'
import { forwardingKey } from '../../src/network/soft-vf/map-layout.ts'
import { container, iperf, makeNode, pins, startEngine, wireAddress } from '../support/one-node.ts'
import { enterOwnNamespaces, run, succeeds } from '../support/own-namespaces.ts'

let engine: NetworkEngine

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  engine = await startEngine()
})

afterAll(() => engine.stop())

const hasPing = (from: AttachRequest, address: string): boolean =>
  succeeds('nsenter', `--net=${from.netns}`, 'ping', '-q', '-c', '1', '-W', '1', address)

const indexOf = (endpoint: { hostInterface: string }): number => 65536 + Number(endpoint.hostInterface.slice(3))

describe('receivers whose keys share a place', () => {
  const requests = (): AttachRequest[] => [
    container(20, { macAddress: '02:00:00:00:00:0a' }),
    container(21, { macAddress: '02:00:00:01:00:0a' }),
    container(22),
  ]
  let [one, two, sender] = [] as AttachRequest[] as [AttachRequest, AttachRequest, AttachRequest]

  beforeAll(async () => {
    ;[one, two, sender] = requests() as [AttachRequest, AttachRequest, AttachRequest]
    for (const request of [one, two, sender]) await engine.attach(request)
  })
  afterAll(() => Promise.all([two, sender].map(({ endpointId }) => engine.detach(endpointId))))

  it('do share it', () => {
    const place = ({ macAddress, vlan }: AttachRequest): number => placeOf(forwardingKey(macAddress, vlan).readBigUInt64LE())
    expect(place(one)).toBe(place(two))
  }) // prettier-ignore

  it('are both reached', () => {
    expect([hasPing(sender, '10.30.0.20'), hasPing(sender, '10.30.0.21')]).toEqual([true, true])
  })

  it('are found again by an engine that starts on places that are wrong', async () => {
    await engine.stop()
    const places = `${pins}/maps/places`
    for (const { macAddress, vlan } of [one, sender]) {
      const place = placeOf(forwardingKey(macAddress, vlan).readBigUInt64LE())
      run('bpftool', 'map', 'update', 'pinned', places, 'key', String(place & 255), String(place >> 8), '0', '0', 'value', ...Array<string>(8).fill('0')) // prettier-ignore
    }
    expect(hasPing(sender, '10.30.0.20')).toBe(false)
    engine = await startEngine()
    expect([hasPing(sender, '10.30.0.20'), hasPing(sender, '10.30.0.21')]).toEqual([true, true])
  })

  it('leave the place to the one that stays', async () => {
    await engine.detach(one.endpointId)
    expect([hasPing(sender, '10.30.0.20'), hasPing(sender, '10.30.0.21')]).toEqual([false, true])
  })
})

describe('the program of a host end', () => {
  it('is put ahead of the filters after a while, counts on, and gives way to the filter when it is taken off', async () => {
    const request = container(30)
    const attached = await engine.attach(request)
    const sent = (): number =>
      engine.counters().find(({ endpointId }) => endpointId === request.endpointId)!.sentPackets
    expect(programsAhead(indexOf(attached))).toEqual([])
    await expect.poll(() => programsAhead(indexOf(attached)).length, { timeout: 20_000, interval: 100 }).toBe(1)
    expect(hasPing(request, wireAddress)).toBe(true)
    run('tc', 'filter', 'del', 'dev', attached.hostInterface, 'ingress')
    const before = sent()
    expect(hasPing(request, wireAddress)).toBe(true)
    expect(sent()).toBeGreaterThan(before)
    await engine.detach(request.endpointId)
  }, 30_000)
})

describe('queues', () => {
  const isWatched = (): boolean => readdirSync(pins).some((name) => name.endsWith('-dequeued'))

  it('are watched only while a floor is promised', async () => {
    const request = container(40)
    await engine.attach(request)
    expect(isWatched()).toBe(false)
    await engine.shape(request.endpointId, { bandwidthFloor: 10e6 })
    expect(isWatched()).toBe(true)
    await engine.shape(request.endpointId, { bandwidthFloor: 0 })
    expect(isWatched()).toBe(false)
    await engine.detach(request.endpointId)
  })

  it('of a receive cap are passed by as long as it is far, and keep it when it is near', async () => {
    const [sender, receiver] = [container(41), container(42, { bandwidthCap: 100e6 })]
    await engine.attach(sender)
    const { hostInterface } = await engine.attach(receiver)
    const queued = (): number => Number(/Sent \d+ bytes (\d+) pkt/.exec(run('tc', '-s', 'qdisc', 'show', 'dev', hostInterface, 'root'))![1]) // prettier-ignore
    const before = queued()
    run('nsenter', `--net=${sender.netns}`, 'ping', '-q', '-c', '100', '-i', '0.002', '10.30.0.42')
    expect(queued() - before).toBeLessThan(20) // broadcast goes through the queue
    const options = ['-t', '2', '-P', '4']
    const rate = await iperf({ from: 'container41', to: 'container42', address: '10.30.0.42', options })
    expect(queued()).toBeGreaterThan(before + 100)
    expect(rate).toBeLessThan(115e6)
    for (const { endpointId } of [sender, receiver]) await engine.detach(endpointId)
  }, 60_000)
})
