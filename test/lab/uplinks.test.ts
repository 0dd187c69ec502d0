import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown, type Container } from '../../lab/index.ts'
import { liveOf, listen, measure, send, stop } from '../../lab/demo/traffic.ts'
import { Event, Node, type FoundUplink } from '../../src/api/index.ts'
import type { ExecError } from '../../src/base/index.ts'
import { severalAttempts } from '../support/patience.ts'

const linkRate = 200e6

let lab: Lab
/** On n1: two with a floor of 60M, one that floods. On n2: who they all send to. */
let gold: Container
let silver: Container
let flood: Container
let sink: Container

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2, rate: linkRate, planes: true })
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-v', '100'])
  await lab.dctl(['perf-tier', 'create', 'third', '-b', '60M'])
  const start = (node: string, name: string, perfTier?: string): Promise<Container> =>
    lab.startContainer({ node, name, network: 'blue', perfTier })
  ;[gold, silver, flood, sink] = await Promise.all([
    start('n1', 'gold', 'third'),
    start('n1', 'silver', 'third'),
    start('n1', 'flood'),
    start('n2', 'sink'),
  ])
  await listen(sink, [5001, 5002, 5003, 5004])
})
afterAll(() => lab.down())

const nodeOne = (): Promise<Node> => lab.store.get(Node, { name: 'n1' })

const soon = { timeout: 20_000, interval: 50 }

/** Waits until control says whether the promises on n1 are kept, and returns what it says. */
async function promisesBecome(reason: string): Promise<string> {
  await expect.poll(async () => (await nodeOne()).status?.promises?.reason, soon).toBe(reason)
  return (await nodeOne()).status!.promises!.message
}

/** What the events of a reason say, by the object that they are about. */
async function told(reason: string): Promise<Record<string, string>> {
  const { items } = await lab.store.list(Event, { fieldSelector: `reason=${reason}` })
  const latest = items.sort((one, other) => one.eventTime.localeCompare(other.eventTime))
  return Object.fromEntries(latest.map(({ regarding, note }) => [regarding.name.split('-')[0]!, note]))
}

/** Changes the spec of n1 as an administrator does. */
async function declare(uplinks: object): Promise<void> {
  await lab.store.patch(Node, { name: 'n1' }, { spec: { uplinks } })
}

const classes = async (node: string): Promise<string> =>
  (await lab.nodeExec(node, ['tc', 'class', 'show', 'dev', 'eth0'])).stdout

/**
 * Bits per second that containers of n1 send by their classes in the same five seconds; none when they did not all send
 * before and after, as one that begins late or ends early leaves the others more.
 */
async function ratesTogether(containers: Container[]): Promise<number[]> {
  const reading = 'echo "at $EPOCHREALTIME"; tc -s class show dev eth0'
  const script = `sleep 1; for pause in 0.3 5 0.3 0; do ${reading}; sleep $pause; done`
  const { stdout } = await lab.nodeExec('n1', ['bash', '-c', script])
  const readings = stdout.split(/^at /m).slice(1)
  const times = readings.map((text) => parseFloat(text))
  const rates = containers.map(({ result }) => {
    const slot = Number(result.interfaces!.find(({ sandbox }) => !sandbox)!.name.slice(3))
    const sent = new RegExp(`class htb 1:${slot.toString(16)} .*\\n Sent (\\d+) bytes`)
    const bytes = readings.map((text) => Number(sent.exec(text)![1]))
    return [1, 2, 3].map((i) => ((bytes[i]! - bytes[i - 1]!) * 8) / (times[i]! - times[i - 1]!))
  })
  const allSend = rates.every(([before, , after]) => Math.min(before!, after!) > 10e6)
  return allSend ? rates.map(([, meanwhile]) => meanwhile!) : []
}

/** Several sockets: one alone waits for what it has sent to be on the wire. */
const floodOptions = ['-u', '-b', '100M', '-l', '1400', '-P', '5']
const startFlood = (): Container => send(flood, sink, 5003, ...floodOptions)

describe('a node whose link carries less than it has promised', () => {
  it('keeps every floor in proportion against a flood, says so, takes no new one, and is well again', async () => {
    await promisesBecome('AllFit')
    await declare({ pods: { rate: '100M' } })
    expect(await promisesBecome('LinkTooSlow')).toContain('78 % of each floor is kept')
    expect(await told('PromiseAtRisk')).toMatchObject({
      n1: expect.stringContaining('120 Mbit/s of floors were promised and the uplink eth0 now has 94 Mbit/s'),
      gold: expect.stringContaining('47 Mbit/s of the floor of 60 Mbit/s are kept'),
      silver: expect.stringContaining('47 Mbit/s of the floor of 60 Mbit/s are kept'),
    })
    const refused = await lab
      .startContainer({ node: 'n1', name: 'late', network: 'blue', perfTier: 'third' })
      .catch((error: Error) => error)
    expect(String((refused as Error).message)).toContain('needs 60 Mbit/s, node n1 has 0 bit/s of 94 Mbit/s left')
    await expect.poll(() => classes('n1'), soon).toMatch(/class htb 1:ffff .* rate 98Mbit/)
    startFlood()
    const rates: number[] = []
    const slower = async (): Promise<number> => {
      const transfers = [measure(gold, sink, 5001, 8), measure(silver, sink, 5002, 8)]
      const [together, ...both] = await Promise.all([ratesTogether([gold, silver]), ...transfers])
      rates.push(...together)
      return together.length === 0 ? 0 : Math.min(...both)
    }
    await expect.poll(slower, severalAttempts).toBeGreaterThan(0.85 * 47e6) // payload, where floors count frames
    expect(Math.max(...rates)).toBeLessThan(1.1 * 47e6)
    expect((await lab.dctl(['cluster', 'status'])).stdout).toMatch(/n1 +Ready,PromiseAtRisk .* 120M\/94M/)
    await declare({ pods: { rate: '200M' } })
    await promisesBecome('AllFit')
    expect(await told('PromiseKept')).toMatchObject({ n1: expect.any(String), gold: expect.stringContaining('again') })
    await expect.poll(() => measure(gold, sink, 5001, 2), severalAttempts).toBeGreaterThan(0.85 * 60e6)
    await stop(flood)
  })

  it('tells within a second or so that it has no carrier, stays up, and comes back', async () => {
    const ready = async (): Promise<string | undefined> => (await nodeOne()).status?.ready?.reason
    /** Milliseconds from the moment at which the cable is moved to the one that control names; requests may take long. */
    const toldAfter = async (isIn: boolean, reason: string): Promise<number> => {
      const moved = Date.now()
      await lab.setCable('n1', isIn)
      await expect.poll(ready, soon).toBe(reason)
      return Date.parse((await nodeOne()).status!.ready!.since) - moved
    }
    expect(await toldAfter(false, 'UplinkDown')).toBeLessThan(3_000)
    await promisesBecome('UplinkDown')
    const { stdout: check } = await lab.dctl(['node', 'check', 'n1']).catch((error: ExecError) => error)
    expect(check).toContain('n1: UplinkDown: the uplink eth0 has no carrier')
    const late = { node: 'n1', name: 'late', network: 'blue' }
    const refused = (await lab.startContainer({ ...late, perfTier: 'third' }).catch((error: Error) => error)) as Error
    expect(refused.message).toContain('the uplink eth0 of node n1 has no carrier')
    const besideThem = await lab.startContainer(late)
    await besideThem.kill()
    expect(gold.isRunning).toBe(true)
    expect(await toldAfter(true, 'AgentAlive')).toBeLessThan(3_000)
    await promisesBecome('AllFit')
    await expect.poll(() => measure(gold, sink, 5001, 1), severalAttempts).toBeGreaterThan(0.85 * 60e6)
  })
})

describe('planes', () => {
  /** iperf3 from a node itself to an address; returns bits per second of payload that arrived. */
  async function fromNode(node: string, address: string): Promise<number> {
    const command = ['iperf3', '-J', '-c', address, '-t', '2', '-O', '1', '--connect-timeout', '5000']
    const { stdout } = await lab.nodeExec(node, command, { deadline: 30_000 })
    return (JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received
      .bits_per_second
  }

  const found = async (plane: FoundUplink['plane']): Promise<FoundUplink | undefined> =>
    (await nodeOne()).status?.agent?.uplinks?.find((uplink) => uplink.plane === plane)

  it('on interfaces of their own do not notice a flood of containers, out of the node and into it', async () => {
    expect(await found('management')).toMatchObject({ interface: 'mgmt0', link: 'mgmt0', linkRate, carrier: true })
    const server = lab.nodeSpawn('n2', ['iperf3', '-s'])
    startFlood()
    await listen(flood, [5005])
    send(sink, flood, 5005, ...floodOptions)
    await sleep(500)
    await expect.poll(() => fromNode('n1', '10.78.0.12'), severalAttempts).toBeGreaterThan(0.85 * linkRate)
    await Promise.all([stop(flood), stop(sink)])
    server.kill()
  })

  it('on the link of containers have what is kept for them while those flood it', async () => {
    const [node, host] = ['n2', await lab.addHost({ name: 'san', vlan: 0, address: '10.79.0.1/24' })]
    const server = host.spawn(['iperf3', '-s'])
    await lab.nodeExec(node, ['ip', 'address', 'add', '10.79.0.12/24', 'dev', 'eth0'])
    const declareStorage = (storage: object): Promise<unknown> =>
      lab.store.patch(Node, { name: node }, { spec: { uplinks: { storage } } })
    const check = (): Promise<{ stdout: string }> =>
      lab.dctl(['node', 'check', node]).catch((error: ExecError) => error)
    const ping = ['ping', '-q', '-s', '1400', '-c', '20', '-i', '0.05', '-W', '1', '10.79.0.1'] // small ones slip into what is left of a full queue
    const lost = async (): Promise<number> => {
      const { stdout } = await lab.nodeExec(node, ping).catch((error: ExecError) => error)
      return Number(/([0-9.]+)% packet loss/.exec(stdout)![1])
    }
    const whileNothingIsKept = { ...severalAttempts, message: 'bit/s while nothing is kept' } // the flood may want for a processor
    await declareStorage({ interface: 'eth0', rate: null })
    await expect.poll(async () => (await check()).stdout, soon).toContain('PlaneWithoutReserve')
    await listen(flood, [5005])
    send(sink, flood, 5005, ...floodOptions)
    await sleep(500)
    await expect.poll(() => fromNode(node, '10.79.0.1'), whileNothingIsKept).toBeLessThan(0.5 * 50e6)

    await declareStorage({ interface: 'eth0', rate: '50M' })
    await expect.poll(() => classes(node), soon).toMatch(/class htb 1:fffe .* rate 50Mbit/)
    await expect.poll(async () => (await lab.dctl(['cluster', 'status'])).stdout, soon).toMatch(/n2 +Ready .* 0\/138M/)
    expect(await lost(), 'percent of pings while 50M are kept').toBe(0)
    await expect.poll(() => fromNode(node, '10.79.0.1'), severalAttempts).toBeGreaterThan(0.85 * 50e6)
    const flooded = async (): Promise<number> => (await liveOf(lab, sink)).rates.delivered
    await expect.poll(flooded, { ...severalAttempts, message: 'bit/s of the flood' }).toBeGreaterThan(40e6)
    await stop(sink)
    server.kill()

    // and for what it receives: the flood comes from n1 now, whose agent is told
    const onNode = lab.nodeSpawn(node, ['iperf3', '-s', '-B', '10.79.0.12'])
    const receives = async (): Promise<number> => {
      const { stdout } = await host.exec(['iperf3', '-J', '-c', '10.79.0.12', '-t', '3', '-O', '1', '-b', '60M'], {
        deadline: 30_000,
      })
      return (JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received
        .bits_per_second
    }
    await declareStorage({ interface: 'eth0', rate: null })
    await expect.poll(() => classes(node), soon).toBe('')
    await listen(sink, [5006]) // the server of the first flood may still wait for its end
    send(flood, sink, 5006, ...floodOptions)
    await sleep(1000)
    await expect.poll(receives, whileNothingIsKept).toBeLessThan(0.5 * 50e6)
    await declareStorage({ interface: 'eth0', rate: '50M' })
    await expect.poll(() => classes(node), soon).toMatch(/class htb 1:fffe .* rate 50Mbit/)
    await sleep(1000)
    await expect.poll(receives, severalAttempts).toBeGreaterThan(0.85 * 50e6)
    const floodReceived = async (): Promise<number> => (await liveOf(lab, sink)).rates.received
    await expect.poll(floodReceived, { ...severalAttempts, message: 'bit/s of the flood' }).toBeGreaterThan(40e6)
    await stop(flood)
    onNode.kill()
    await declareStorage({ interface: 'stor0', rate: linkRate })
    await expect.poll(() => classes(node), soon).toBe('')
  })
})
