import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exec, silentLogger } from '../../src/base/index.ts'
import { DriftWatch } from '../../src/network/drift-watch.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import type { EventNotice } from '../../src/store/index.ts'
import { container, makeNode, pins, startEngine, wireAddress } from '../support/one-node.ts'
import { enterOwnNamespaces, run, runIn, succeeds } from '../support/own-namespaces.ts'

let engine: NetworkEngine
let watch: DriftWatch
const requests = new Map<string, AttachRequest>()
const events: EventNotice[] = []
const maps = `${pins}/maps`

/** An attached container that this test damages in one way. */
interface Victim {
  request: AttachRequest
  host: string
  slot: number
}

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  engine = await startEngine()
  watch = new DriftWatch({
    nodeName: 'n1',
    engine,
    attached: () => [...requests.values()].map((request) => ({ endpointId: request.endpointId, namespace: 'default', name: request.containerId, request })),
    attachAgain: (endpointId) => void engine.attach(requests.get(endpointId)!),
    events: { record: (event) => events.push(event) },
    logger: silentLogger(),
  })
  watch.start()
}) // prettier-ignore

afterAll(async () => {
  await watch.stop()
  await engine.stop()
})

async function victim(number: number, settings: Partial<AttachRequest> = {}): Promise<Victim> {
  const request = container(number, settings)
  const { hostInterface } = await engine.attach(request)
  requests.set(request.endpointId, request)
  return { request, host: hostInterface, slot: Number(hostInterface.slice(3)) }
}

const inside = ({ request }: Victim, ...command: string[]): string => runIn(request.containerId, ...command)
const pingOfWire = ({ request }: Victim): [string, ...string[]] => ['nsenter', `--net=${request.netns}`, 'ping', '-q', '-c', '1', '-W', '0.1', wireAddress] // prettier-ignore
const reachesWire = (one: Victim): boolean => succeeds(...pingOfWire(one))

/** What is looked at again and again is read beside the event loop, on which the repair goes on. */
const read = async (...command: [string, ...string[]]): Promise<string> => (await exec(command)).stdout
const readInside = ({ request }: Victim, ...command: string[]): Promise<string> =>
  read('nsenter', `--net=${request.netns}`, ...command)
const reachesWireAgain = (one: Victim): Promise<boolean> =>
  exec(pingOfWire(one)).then(
    () => true,
    () => false,
  )
const hex = (bytes: Iterable<number>): string[] => [...bytes].map((byte) => byte.toString(16).padStart(2, '0'))
const slotHex = (slot: number): string[] => hex([slot & 255, slot >> 8, 0, 0])
const reasonsOf = ({ request }: Victim): (string | undefined)[] =>
  events.filter(({ regarding }) => regarding.uid === request.endpointId).map(({ reason }) => reason)

/** What the issue allows, from the damage to the repair. */
const inTime = { timeout: 5_000, interval: 250 }

describe('what somebody does by hand to an endpoint is repaired within 5 s and told', { concurrent: true }, () => {
  it('filter removed', async ({ expect }) => {
    const one = await victim(70)
    run('tc', 'filter', 'del', 'dev', one.host, 'ingress')
    await expect.poll(() => read('tc', 'filter', 'show', 'dev', one.host, 'ingress'), inTime).toMatch(/direct-action/)
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
    await expect.poll(() => reasonsOf(one)).toEqual(['FilterMissing'])
    inside(one, 'ip', 'address', 'add', '10.30.0.250/24', 'dev', 'eth0')
    const spoofed = ['ping', '-q', '-c', '1', '-W', '0.2', '-I', '10.30.0.250', wireAddress]
    expect(succeeds('nsenter', `--net=${one.request.netns}`, ...spoofed)).toBe(false)
    const counters = engine.counters().find(({ endpointId }) => endpointId === one.request.endpointId)
    expect(counters!.drops['spoofed-arp'] + counters!.drops['spoofed-ip']).toBeGreaterThan(0)
  })

  it('hooks removed with all filters', async ({ expect }) => {
    const one = await victim(71)
    run('tc', 'qdisc', 'del', 'dev', one.host, 'clsact')
    await expect.poll(() => read('tc', 'filter', 'show', 'dev', one.host, 'ingress'), inTime).toMatch(/direct-action/)
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
  })

  it('another program put in the place of the filter', async ({ expect }) => {
    const one = await victim(72)
    const before = run('tc', 'filter', 'show', 'dev', one.host, 'ingress')
    const other = run('sh', '-c', `ls -d ${pins}/v*/send_frame`).trim()
    run('tc', 'filter', 'replace', 'dev', one.host, 'ingress', 'pref', '1', 'handle', '1', 'protocol', 'all', 'bpf', 'direct-action', 'object-pinned', other)
    const programOf = (shown: string): string | undefined => /id (\d+)/.exec(shown)?.[1]
    expect(programOf(run('tc', 'filter', 'show', 'dev', one.host, 'ingress'))).not.toBe(programOf(before))
    await expect.poll(async () => programOf(await read('tc', 'filter', 'show', 'dev', one.host, 'ingress')), inTime).toBe(programOf(before))
  }) // prettier-ignore

  it('map entry zeroed', async ({ expect }) => {
    const one = await victim(73)
    run('bpftool', 'map', 'update', 'pinned', `${maps}/endpoints`, 'key', 'hex', ...slotHex(one.slot), 'value', 'hex', ...hex(Buffer.alloc(80)))
    expect(reachesWire(one)).toBe(false)
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
    await expect.poll(() => reasonsOf(one)).toEqual(['EntryChanged'])
  }) // prettier-ignore

  it('forwarding entry deleted', async ({ expect }) => {
    const one = await victim(74)
    const mac = one.request.macAddress.split(':')
    run('bpftool', 'map', 'delete', 'pinned', `${maps}/forwarding`, 'key', 'hex', ...mac, '00', '00')
    await expect.poll(() => reasonsOf(one), inTime).toEqual(['ForwardingChanged'])
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
  })

  it('veth deleted: it is made anew', async ({ expect }) => {
    const one = await victim(75)
    run('ip', 'link', 'del', one.host)
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
    await expect.poll(() => reasonsOf(one)).toEqual(['InterfaceGone'])
    expect(await engine.check(one.request)).toEqual([])
  })

  it('queue of a cap removed, at the host end and inside', async ({ expect }) => {
    const one = await victim(76, { bandwidthCap: 50e6 })
    run('tc', 'qdisc', 'del', 'dev', one.host, 'root')
    inside(one, 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root')
    await expect.poll(() => read('tc', 'qdisc', 'show', 'dev', one.host), inTime).toMatch(/tbf .* rate 50Mbit/)
    await expect.poll(() => readInside(one, 'tc', 'qdisc', 'show', 'dev', 'eth0'), inTime).toMatch(/tbf .* rate 50Mbit/)
    await expect.poll(() => reasonsOf(one).sort()).toEqual(['CapMissing', 'ShaperMissing'])
  })

  it('addresses and routes removed', async ({ expect }) => {
    const gateways = [
      { address: '10.30.0.77', prefixLength: 24, gateway: wireAddress },
      { address: 'fd00:30::77', prefixLength: 64, gateway: 'fd00:30::1' },
    ]
    const one = await victim(77, { addresses: gateways })
    const shown = async (): Promise<string[]> => [
      (await readInside(one, 'ip', '-o', 'address', 'show', 'dev', 'eth0', 'scope', 'global')).replaceAll(/\s+valid_lft.*/g, ''),
      (await readInside(one, 'ip', 'route', 'show')).replaceAll(/ (proto \w+|src \S+)/g, ''),
      await readInside(one, 'ip', '-6', 'route', 'show', 'default'),
    ] // prettier-ignore
    const before = await shown()
    inside(one, 'ip', 'address', 'flush', 'dev', 'eth0', 'scope', 'global')
    await expect.poll(shown, inTime).toEqual(before)
    inside(one, 'ip', 'route', 'flush', 'table', 'main')
    await expect.poll(shown, inTime).toEqual(before)
  })

  it('interface down, another MAC, another MTU, host end down', async ({ expect }) => {
    const one = await victim(78)
    inside(one, 'ip', 'link', 'set', 'eth0', 'down')
    inside(one, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:99:99', 'mtu', '1400')
    run('ip', 'link', 'set', one.host, 'down', 'mtu', '1300')
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
    await expect.poll(() => readInside(one, 'ip', 'link', 'show', 'eth0'), inTime).toMatch(new RegExp(`mtu 1496 [^]*${one.request.macAddress}`))
    await expect.poll(() => read('ip', 'link', 'show', one.host), inTime).toMatch(/mtu 1496/)
  }) // prettier-ignore

  it('interface renamed: told, with what to do, until it has its name again', async ({ expect }) => {
    const one = await victim(79)
    inside(one, 'ip', 'link', 'set', 'eth0', 'down')
    inside(one, 'ip', 'link', 'set', 'eth0', 'name', 'other0')
    const problem = (): object[] => watch.problems().filter(({ message }) => message.includes('default/container79'))
    await expect.poll(problem, inTime).toMatchObject([{ reason: 'InterfaceMoved', remedy: expect.stringMatching(/start it again/) }])
    expect(reasonsOf(one)).toEqual(['InterfaceMoved'])
    inside(one, 'ip', 'link', 'set', 'other0', 'name', 'eth0')
    await expect.poll(problem, { timeout: 30_000 }).toEqual([])
  }) // prettier-ignore

  it("a default route of the container's own is left alone", async ({ expect }) => {
    const gateway = { address: '10.30.0.80', prefixLength: 24, gateway: wireAddress }
    const one = await victim(80, { addresses: [gateway] })
    inside(one, 'ip', 'link', 'add', 'tun7', 'type', 'veth', 'peer', 'name', 'tun8')
    inside(one, 'ip', 'address', 'add', '10.99.0.1/24', 'dev', 'tun7')
    inside(one, 'ip', 'link', 'set', 'tun7', 'up')
    inside(one, 'ip', 'route', 'replace', 'default', 'via', '10.99.0.2')
    await delay(4_500)
    expect(inside(one, 'ip', 'route', 'show', 'default')).toMatch(/via 10.99.0.2/)
    expect(reasonsOf(one)).toEqual([])
  })

  it('a container whose namespace has gone is not missed', async ({ expect }) => {
    const one = await victim(81)
    run('ip', 'netns', 'del', 'container81')
    await delay(4_500)
    expect(reasonsOf(one)).toEqual([])
    requests.delete(one.request.endpointId)
    await engine.detach(one.request.endpointId)
  })
})

describe('what somebody does by hand to the uplink is repaired within 5 s and told', () => {
  const reasonsOfNode = (): string[] =>
    events.filter(({ regarding }) => regarding.kind === 'Node').map(({ reason }) => reason)

  it('the tree of classes removed, or a class changed', async () => {
    const gold = await victim(90, { bandwidthFloor: 200e6 })
    const classes = async (): Promise<string> =>
      (await read('tc', 'class', 'show', 'dev', 'eth0')).split('\n').sort().join('\n')
    const before = await classes()
    expect(before).toMatch(/rate 200Mbit/)
    run('tc', 'qdisc', 'del', 'dev', 'eth0', 'root')
    await expect.poll(classes, inTime).toBe(before)
    run('tc', 'class', 'change', 'dev', 'eth0', 'classid', `1:${gold.slot.toString(16)}`, 'htb', 'rate', '1Mbit')
    await expect.poll(classes, inTime).toBe(before)
    await expect.poll(reasonsOfNode).toEqual(['ClassesChanged', 'ClassesChanged']) // told once it is known to be repaired
    await expect.poll(() => reachesWireAgain(gold), inTime).toBe(true)
  })

  it('its program detached, and the configuration zeroed', async () => {
    const one = await victim(91)
    run('bpftool', 'link', 'detach', 'pinned', `${pins}/uplink`)
    const zero = hex(Buffer.alloc(16))
    run(
      'bpftool',
      'map',
      'update',
      'pinned',
      `${maps}/configuration`,
      'key',
      'hex',
      ...slotHex(0),
      'value',
      'hex',
      ...zero,
    )
    expect(reachesWire(one)).toBe(false)
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
    const reasons = (): string[] => reasonsOfNode().slice(2).sort()
    await expect.poll(reasons).toEqual(['ConfigurationChanged', 'UplinkProgramMissing'])
  })

  it('leaves nothing wrong, and repairs nothing that is right', async () => {
    const told = events.length
    const counted = [...watch.repaired().values()].reduce((sum, count) => sum + count, 0)
    await delay(4_500)
    expect(events.length).toBe(told)
    expect([...watch.repaired().values()].reduce((sum, count) => sum + count, 0)).toBe(counted)
    expect(watch.problems()).toEqual([])
  })

  it('what cannot be repaired is told of the node, and keeps nothing else from being repaired', async () => {
    const one = await victim(92)
    run('mount', '-t', 'tmpfs', 'none', pins) // no pins can be made there
    run('tc', 'filter', 'del', 'dev', one.host, 'ingress')
    await expect.poll(() => read('tc', 'filter', 'show', 'dev', one.host, 'ingress'), inTime).toMatch(/direct-action/)
    await expect.poll(() => watch.problems(), inTime).toMatchObject([{ reason: 'PinMissing', message: expect.stringMatching(/repairing it failed/), remedy: expect.stringMatching(/log of the agent/) }])
    await expect.poll(() => reachesWireAgain(one), inTime).toBe(true)
    run('umount', pins)
    await expect.poll(() => watch.problems(), { timeout: 30_000 }).toEqual([])
  }) // prettier-ignore
})
