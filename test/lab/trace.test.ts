import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown, type Container } from '../../lab/index.ts'
import type { ExecError } from '../../src/base/index.ts'
import { allowVlans, forbidVlan } from '../support/switch-faults.ts'

let lab: Lab
let web: Container
let db: Container

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24,fd00:30::/64', '--end', '10.30.0.99', '-v', '100'])
  await lab.dctl(['network', 'create', 'green', '-s', '10.30.0.0/24', '--start', '10.30.0.100', '-v', '200'])
  await lab.dctl(['network', 'create', 'dark', '-s', '10.40.0.0/24', '-v', '300'])
  await lab.dctl(['perf-tier', 'create', 'gold', '-b', '50M', '-B', '100M'])
  web = await lab.startContainer({ node: 'n1', name: 'web', network: 'blue', perfTier: 'gold' })
  db = await lab.startContainer({ node: 'n2', name: 'db', network: 'blue' })
  await lab.startContainer({ node: 'n1', name: 'near', network: 'blue' })
  await lab.startContainer({ node: 'n2', name: 'other', network: 'green' })
})
afterAll(() => lab.down())

interface Trace {
  exitCode: number | null
  /** Outcome of each hop by its name. */
  hops: Record<string, string>
  sentence: string
}

async function trace(...args: string[]): Promise<Trace> {
  const parse = (exitCode: number | null, text: string): Trace => {
    const { hops, verdict } = JSON.parse(text) as {
      hops: { hop: string; outcome: string }[]
      verdict: { sentence: string }
    }
    return {
      exitCode,
      hops: Object.fromEntries(hops.map(({ hop, outcome }) => [hop, outcome])),
      sentence: verdict.sentence,
    }
  }
  return lab.dctl(['network', 'trace', ...args, '-o', 'json']).then(
    ({ stdout }) => parse(0, stdout),
    (error: ExecError) =>
      parse(error.exitCode, error.stdout || '{"hops":[],"verdict":{"sentence":"nothing was said"}}'),
  )
}

/** The interface of db is down; its agent soon repairs that, on a busy machine sooner than it is looked at. */
async function traceWhileDown(...args: string[]): Promise<Trace> {
  await db.execInNetns(['ip', 'link', 'set', 'eth0', 'down'])
  return trace(...args)
}

/** What a link that was down, and other damage, took away. */
async function repair(container: Container): Promise<void> {
  const inContainer = (...words: string[]): Promise<unknown> => container.execInNetns(['ip', ...words])
  await inContainer('link', 'set', 'eth0', 'address', container.mac, 'up')
  await inContainer('address', 'flush', 'dev', 'eth0', 'scope', 'global')
  for (const address of container.addresses) {
    const isSix = address.includes(':')
    // the agent repairs too, and may be faster
    await inContainer('address', 'replace', `${address}/${isSix ? 64 : 24}`, 'dev', 'eth0', ...(isSix ? ['nodad'] : []))
  }
}

describe('dctl network trace sends real frames and says that they', () => {
  it.each([
    ['arrive on another node', 'db'],
    ['arrive on the same node', 'near'],
    ['arrive by IPv6', 'fd00:30::'],
  ])('%s', async (_what, name) => {
    const to = name.includes(':') ? db.addresses.find((address) => address.includes(':'))! : name
    const found = await trace('web', to)
    expect(found).toMatchObject({ exitCode: 0, hops: { 'real frames': 'passes' } })
    expect(found.sentence).toBe(`packets from web arrive at ${to}`)
  })

  it('are lost where a switch port does not carry the VLAN', async () => {
    await forbidVlan('n2', 100)
    const broken = await trace('web', 'db')
    await allowVlans('n2')
    expect(broken.exitCode).toBe(1)
    expect(broken.sentence).toMatch(/none arrived at n2: lost between the nodes|VLAN 100 of n[12] was/)
    expect((await trace('web', 'db')).exitCode).toBe(0)
  })

  it("end at the receiver's interface that is down", async () => {
    await expect
      .poll(() => traceWhileDown('web', 'db'), { timeout: 20_000 })
      .toMatchObject({
        exitCode: 1,
        sentence: 'packets from web to db are dropped: db interface: eth0 is down',
        hops: { 'db interface': 'drops', 'real frames': 'drops' },
      })
    await repair(db)
    await expect.poll(async () => (await trace('web', 'db')).exitCode, { timeout: 10_000 }).toBe(0)
  })

  it('do not leave an interface that is down', async () => {
    const found = { exitCode: 1, hops: { 'db interface': 'drops' } }
    await expect.poll(() => traceWhileDown('db', 'web'), { timeout: 20_000 }).toMatchObject(found)
    await repair(db)
    await expect.poll(async () => (await trace('db', 'web')).exitCode, { timeout: 10_000 }).toBe(0)
  })

  it('never reach another VLAN', async () => {
    expect(await trace('web', 'other')).toMatchObject({
      exitCode: 1,
      hops: { network: 'drops', 'real frames': 'drops' },
      sentence: expect.stringContaining('other is on VLAN 200, the frame goes out on VLAN 100') as string,
    })
  })

  it('leave by the interface that is on the network of the receiver', async () => {
    const annotations = { 'carbonado.io/endpoint1': '{"network":"green"}' }
    await lab.startContainer({ node: 'n1', name: 'both', network: 'dark', annotations })
    expect(await trace('both', 'other')).toMatchObject({
      exitCode: 0,
      hops: { network: 'passes', 'real frames': 'passes' },
    })
    expect(await trace('other', 'both')).toMatchObject({ exitCode: 0 })
  })

  it('are dropped as spoofed, and by which rule', async () => {
    const inDb = (...words: string[]): Promise<unknown> => db.execInNetns(['ip', ...words])
    // changed again each time: the agent may be faster than dctl and have repaired it
    const traceWithOtherMac = async (): Promise<Trace> => {
      await inDb('link', 'set', 'eth0', 'address', '02:00:00:00:66:66')
      return trace('db', 'web')
    }
    await expect.poll(traceWithOtherMac, { timeout: 20_000 }).toMatchObject({
      exitCode: 1,
      hops: { 'anti-spoofing': 'drops', 'real frames': 'drops' },
      sentence: expect.stringContaining('(spoofed-mac)') as string,
    })
    await repair(db)
    const [own] = db.addresses
    const traceWithOtherAddress = async (): Promise<Trace> => {
      await inDb('address', 'replace', '10.30.0.66/24', 'dev', 'eth0')
      await inDb('address', 'del', `${own}/24`, 'dev', 'eth0').catch(() => {}) // gone still, or put back
      return trace('db', 'web')
    }
    await expect.poll(traceWithOtherAddress, { timeout: 20_000 }).toMatchObject({
      exitCode: 1,
      hops: { 'db interface': 'drops', 'anti-spoofing': 'drops', 'real frames': 'drops' },
    })
    await repair(db)
    await expect.poll(async () => (await trace('db', 'web')).exitCode, { timeout: 10_000 }).toBe(0)
  })

  it('arrive although the agent of the receiver is dead, and cannot be sent by a dead one', async () => {
    await lab.killAgent('n2')
    expect(await trace('web', 'db')).toMatchObject({
      exitCode: 0,
      hops: { 'db attached': 'unknown', 'real frames': 'passes' },
    })
    expect(await trace('web', 'db', '--no-probe')).toMatchObject({
      exitCode: 7,
      sentence: expect.stringContaining('the agent of node n2 does not answer') as string,
    })
    expect(await trace('db', 'web')).toMatchObject({ exitCode: 7 })
    await lab.startAgent('n2')
    await expect.poll(async () => (await trace('db', 'web')).exitCode, { timeout: 15_000 }).toBe(0)
  })
})

describe('dctl endpoint describe', () => {
  interface Description {
    live: { lastHour: { withDemand: number }; rates: { sent: number } }
    uplink: { sent: number; promised: number }
    verdict: { code: string }
  }
  const describeWeb = async (): Promise<Description> =>
    JSON.parse((await lab.dctl(['endpoint', 'describe', 'web', '-o', 'json'])).stdout) as Description

  it('says what holds an endpoint, and its last hour outlives the agent', async () => {
    await db.exec(['iperf3', '--server', '--daemon'])
    const sending = web.exec(['iperf3', '--client', db.addresses[0]!, '--time', '15', '--udp', '--bitrate', '90M'], {
      deadline: 40_000,
    })
    sending.catch(() => {}) // awaited below
    const busy = async (): Promise<object> => {
      const { live, uplink } = await describeWeb()
      return { hasDemand: live.lastHour.withDemand > 2, promised: uplink.promised, isSending: uplink.sent > 50e6 }
    }
    await expect.poll(busy, { timeout: 15_000 }).toEqual({ hasDemand: true, promised: 50e6, isSending: true })
    await sending
    await expect.poll(async () => (await describeWeb()).live.rates.sent, { timeout: 15_000 }).toBeLessThan(1e6)
    const before = (await describeWeb()).live.lastHour.withDemand
    await lab.stopAgent('n1')
    await lab.startAgent('n1')
    await expect.poll(async () => (await describeWeb()).live.lastHour?.withDemand, { timeout: 15_000 }).toBe(before)
    const capped = web.exec(['iperf3', '--client', db.addresses[0]!, '--time', '15'], { deadline: 40_000 })
    await expect.poll(async () => (await describeWeb()).verdict.code, { timeout: 15_000 }).toBe('OwnCap')
    await capped
    await expect.poll(async () => (await describeWeb()).verdict.code, { timeout: 20_000 }).toBe('DemandBelowFloor')
  }, 120_000)
})
