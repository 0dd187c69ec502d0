import { setTimeout as delay } from 'node:timers/promises'
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, get } from 'node:https'
import { text as readBody } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { AddressClaim, apiVersionOf, Endpoint, Event, MacClaim, Network, Node, PerfTier } from '../../src/api/index.ts'
import type { RestStore } from '../../src/store/index.ts'
import { AgentProcess, liveApi, reaches } from '../support/agent-process.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../support/control-files.ts'
import { startControlProcess, type ControlProcess } from '../support/control-process.ts'
import { makeNode } from '../support/one-node.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

let files: ControlFiles
let control: ControlProcess
let agent: AgentProcess
let store: RestStore
let live: Agent

beforeAll(async () => {
  enterOwnNamespaces()
  run('mount', '-t', 'sysfs', 'sysfs', '/sys') // the one before shows the devices of the machine
  run('mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf')
  makeNode()
  files = await makeControlFiles()
  control = await startControlProcess(files)
  store = control.client()
  live = new Agent({ ca: readFileSync(files.certificateFile), keepAlive: true })
  const network = { apiVersion: apiVersionOf(Network), kind: 'Network' }
  const subnets = [{ cidr: '10.40.0.0/24', ranges: [{ start: '10.40.0.10', end: '10.40.0.99' }] }]
  await store.create(Network, {
    ...network,
    metadata: { name: 'blue' },
    spec: { vlan: 100, subnets, plane: 'pods', isDefault: true },
  } as Network)
  const one = [{ cidr: '10.50.0.0/24', ranges: [{ start: '10.50.0.10', end: '10.50.0.10' }] }]
  await store.create(Network, {
    ...network,
    metadata: { name: 'narrow' },
    spec: { vlan: 200, subnets: one, plane: 'pods', isDefault: false },
  } as Network)
  agent = new AgentProcess(files)
  await agent.start()
}, 60_000)

afterAll(async () => {
  await agent.end('SIGTERM')
  await control.end('SIGTERM')
  live.destroy()
  files[Symbol.dispose]()
})

let count = 0
let containers: string[]
beforeEach(() => {
  containers = [1, 2].map(() => `c${++count}`)
  for (const name of containers) run('ip', 'netns', 'add', name)
})

async function eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
  const giveUp = Date.now() + 40_000
  while (!(await condition())) {
    if (Date.now() > giveUp) throw new Error(`it did not come true: ${what}`)
    await delay(20)
  }
}

/** Nothing is attached, promised, claimed or left over. */
async function expectNothingLeft(): Promise<void> {
  const counts = async (): Promise<number[]> => [
    (await store.list(Endpoint)).items.length,
    (await store.list(AddressClaim)).items.length,
    (await store.list(MacClaim)).items.length,
    ((await ask('/v1/endpoints')).body as { endpoints: [] }).endpoints.length,
    hostInterfaces().length,
  ]
  await eventually(async () => (await counts()).every((number) => number === 0), 'nothing is left').catch(async () => {
    expect(await counts()).toEqual([0, 0, 0, 0, 0])
  })
}

/** Interfaces of this node beside loopback and uplink. */
function hostInterfaces(): string[] {
  const links = JSON.parse(run('ip', '-json', 'link', 'show', 'type', 'veth')) as { ifname?: string }[]
  return links.flatMap(({ ifname }) => (ifname && ifname !== 'eth0' ? [ifname] : []))
}

async function ask(path: string, token: string = testTokens.viewer): Promise<{ status: number; body: unknown }> {
  const headers = { authorization: `Bearer ${token}` }
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(liveApi + path, { agent: live, headers }, resolve).on('error', reject)
  })
  const text = await readBody(answer)
  return { status: answer.statusCode!, body: text.startsWith('{') ? JSON.parse(text) : text }
}

describe('plugin, agent, control and kernel', () => {
  test('attach containers that reach each other, show them, and take them away', async () => {
    const answers = await Promise.all(containers.map((name) => agent.call('ADD', name)))
    expect(answers.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    const address = (answers[1]!.output!.ips as { address: string }[])[0]!.address.split('/')[0]!
    expect(reaches(containers[0]!, address)).toBe(true)
    for (const [index, name] of containers.entries()) {
      expect(await agent.call('ADD', name)).toEqual(answers[index])
      expect(await agent.call('CHECK', name, { prevResult: answers[index]!.output })).toMatchObject({ exitCode: 0 })
    }
    expect((await ask('/v1/endpoints', 'no-token-at-all')).status).toBe(401)
    const { endpoints } = (await ask('/v1/endpoints')).body as { endpoints: { sentPackets: number }[] }
    expect(endpoints).toHaveLength(2)
    expect(endpoints.every(({ sentPackets }) => sentPackets > 0)).toBe(true)
    expect((await ask('/metrics')).body).toMatch(/^carbonado_endpoint_sent_packets_total\{.*network="blue"\} [1-9]/m)
    expect((await ask('/v1/check')).body).toEqual({ problems: [] })
    expect((await ask('/healthz', '')).status).toBe(200)
    for (const name of containers) expect((await agent.call('DEL', name)).exitCode).toBe(0)
    for (const name of containers) expect((await agent.call('DEL', name)).exitCode).toBe(0)
    await expectNothingLeft()
  })

  test('CHECK finds a damaged interface', async () => {
    const [name] = containers as [string]
    const { output } = await agent.call('ADD', name)
    run('ip', '-n', name, 'address', 'flush', 'dev', 'eth0')
    expect((await agent.call('CHECK', name, { prevResult: output })).output).toMatchObject({ code: 110 })
    await agent.call('DEL', name)
    await expectNothingLeft()
  })

  test('GC removes what is not valid', async () => {
    for (const name of containers) await agent.call('ADD', name)
    const valid = { 'cni.dev/valid-attachments': [{ containerID: containers[0], ifname: 'eth0' }] }
    expect((await agent.call('GC', 'ignored', valid)).exitCode).toBe(0)
    expect(hostInterfaces().length).toBeGreaterThan(0)
    await eventually(async () => (await store.list(Endpoint)).items.length === 1, 'one is left')
    expect((await agent.call('GC', 'ignored', { 'cni.dev/valid-attachments': [] })).exitCode).toBe(0)
    await expectNothingLeft()
  })

  test.each([
    ['an unknown network', 103, { network: 'purple' }],
    ['an unknown tier', 103, { perfTier: 'platinum' }],
    ['a floor that does not fit', 102, { perfTier: 'huge' }],
    ['an unknown static endpoint', 103, annotation('{"endpointId":"ep9"}')],
    ['an annotation that is not JSON', 7, annotation('blue')],
  ])('ADD with %s fails with code %i and leaves nothing', async (_what, code, configuration) => {
    const metadata = { name: 'huge' }
    await store
      .create(PerfTier, {
        apiVersion: apiVersionOf(PerfTier),
        kind: 'PerfTier',
        metadata,
        spec: { networkBandwidth: '50G' },
      })
      .catch(() => {})
    const { exitCode, output } = await agent.call('ADD', containers[0]!, configuration)
    expect([exitCode, output!.code]).toEqual([1, code])
    expect(String(output!.msg).length).toBeGreaterThan(10)
    await expectNothingLeft()
  })

  test('ADD into a namespace that has gone fails with code 3, DEL of it succeeds', async () => {
    expect((await agent.call('ADD', 'nobody')).output).toMatchObject({ code: 3 })
    expect((await agent.call('DEL', 'nobody')).exitCode).toBe(0)
    const [name] = containers as [string]
    await agent.call('ADD', name)
    run('ip', 'netns', 'delete', name)
    expect((await agent.call('DEL', name)).exitCode).toBe(0)
    await expectNothingLeft()
  })

  test('of 20 concurrent ADDs for the last free address exactly one wins', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `last${index}`)
    for (const name of names) run('ip', 'netns', 'add', name)
    const answers = await Promise.all(names.map((name) => agent.call('ADD', name, { network: 'narrow' })))
    expect(answers.filter(({ exitCode }) => exitCode === 0)).toHaveLength(1)
    expect(answers.filter(({ output }) => output!.code === 102)).toHaveLength(19)
    await Promise.all(names.map((name) => agent.call('DEL', name)))
    await expectNothingLeft()
    for (const name of names) run('ip', 'netns', 'delete', name)
  })

  test('a static endpoint follows its containers with address and MAC', async () => {
    const metadata = { name: 'ep1', namespace: 'default' }
    const spec = { networkName: 'blue', isStatic: true, addresses: ['10.40.0.77'] }
    await store.create(Endpoint, { apiVersion: apiVersionOf(Endpoint), kind: 'Endpoint', metadata, spec })
    const macs: unknown[] = []
    for (const name of containers) {
      const { output } = await agent.call('ADD', name, annotation('{"endpointId":"ep1"}'))
      expect(output).toMatchObject({ ips: [{ address: '10.40.0.77/24' }] })
      macs.push((output!.interfaces as { mac: string }[])[1]!.mac)
      await agent.call('DEL', name)
    }
    expect(macs[0]).toBe(macs[1])
    await eventually(async () => (await store.get(Endpoint, metadata)).spec.holder === undefined, 'it is free')
    await store.delete(Endpoint, metadata)
    await expectNothingLeft()
  })
})

describe('faults', () => {
  test('while control is down ADD says to try again, DEL succeeds, and all is well afterwards', async () => {
    const [first, second] = containers as [string, string]
    await agent.call('ADD', first)
    await control.end('SIGKILL')
    const before = performance.now()
    expect((await agent.call('ADD', second)).output).toMatchObject({ code: 11 })
    expect((await agent.call('STATUS', first)).output).toMatchObject({ code: 50 })
    expect(performance.now() - before).toBeLessThan(5_000)
    expect((await agent.call('DEL', first)).exitCode).toBe(0)
    control = await startControlProcess(files)
    store = control.client()
    await expectNothingLeft()
    await eventually(async () => (await agent.call('STATUS', first)).exitCode === 0, 'STATUS is well')
    expect((await agent.call('ADD', second)).exitCode).toBe(0)
    await agent.call('DEL', second)
    await expectNothingLeft()
  })

  test('a restart keeps what is attached', async () => {
    const [name] = containers as [string]
    const { output } = await agent.call('ADD', name)
    expect(await agent.end('SIGTERM')).toBe(0)
    expect((await agent.call('DEL', name)).output).toMatchObject({ code: 11 })
    await agent.start()
    expect((await agent.call('CHECK', name, { prevResult: output })).exitCode).toBe(0)
    await agent.call('DEL', name)
    await expectNothingLeft()
  })

  test('killed in the middle of ADD and of DEL at 20 random moments it leaves and duplicates nothing', async () => {
    const [name] = containers as [string]
    for (let round = 0; round < 20; round++) {
      const verb = round % 2 === 0 ? 'ADD' : 'DEL'
      if (verb === 'DEL') expect((await agent.call('ADD', name)).exitCode).toBe(0)
      const call = agent.call(verb, name)
      await delay(Math.random() * (verb === 'ADD' ? 40 : 15))
      await agent.end('SIGKILL')
      await call
      await agent.start()
      if (verb === 'ADD') {
        expect(await agent.call('ADD', name)).toMatchObject({ exitCode: 0 })
        expect((await store.list(AddressClaim)).items).toHaveLength(1)
      }
      expect((await agent.call('DEL', name)).exitCode).toBe(0)
      await expectNothingLeft()
    }
  }, 180_000)

  test('the node is registered and reports', async () => {
    const node = await store.get(Node, { name: 'n1' })
    expect(node.status!.agent).toMatchObject({ linkRate: 1e9, mtu: 1500, carrier: true, problems: [] })
  })
})

function annotation(endpoint0: string): object {
  return { runtimeConfig: { 'io.kubernetes.cri.pod-annotations': { 'carbonado.io/endpoint0': endpoint0 } } }
}

test('what is damaged by hand is repaired within 5 s, and told as an event, a metric and a problem of the node', async () => {
  const [damaged, renamed] = containers as [string, string]
  const [added] = await Promise.all(containers.map((name) => agent.call('ADD', name)))
  const attachment = async (): Promise<unknown> => (await store.get(Endpoint, before.metadata as { name: string })).status?.attachment
  const before = (await store.list(Endpoint)).items.find(({ spec }) => spec.holder?.containerId === damaged)!
  await expect.poll(attachment).toBeDefined()
  run('ip', 'link', 'del', ((await attachment()) as { hostInterface: string }).hostInterface)
  run('ip', '-n', renamed, 'link', 'set', 'eth0', 'down')
  run('ip', '-n', renamed, 'link', 'set', 'eth0', 'name', 'other0')
  const inTime = { timeout: 5_000 }
  await expect.poll(() => agent.call('CHECK', damaged, { prevResult: added!.output }).then(({ exitCode }) => exitCode), inTime).toBe(0)
  await expect.poll(async () => (await ask('/v1/check')).body, inTime).toMatchObject({ problems: expect.arrayContaining([expect.objectContaining({ reason: 'InterfaceMoved' })]) })
  await expect.poll(async () => (await ask('/metrics')).body, inTime).toMatch(/carbonado_drift_repaired_total\{reason="InterfaceGone"\} 1/)
  await expect.poll(async () => (await store.list(Event)).items.map(({ reason }) => reason), inTime).toEqual(expect.arrayContaining(['InterfaceGone', 'InterfaceMoved']))
  for (const name of containers) await agent.call('DEL', name)
  await expectNothingLeft()
}) // prettier-ignore
