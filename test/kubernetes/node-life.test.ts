import './own-lab.ts'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { Lab, takeLabDown } from '../../lab/index.ts'
import {
  applyObjects,
  helm,
  imageReference,
  installCarbonado,
  kubectl,
  startControlPlaneProgram,
  startNodeProgram,
  waitForApiServer,
  waitForReadyKubernetesNodes,
  type NodeProgram,
} from '../../lab/kubernetes/index.ts'
import { endProgram } from '../../lab/programs.ts'
import { projectRoot } from '../../lab/places.ts'

/** Seconds without API server, and of churn: ten minutes with CARBONADO_CHURN_SECONDS=600. */
const [outage, churn] = [120, Number(process.env.CARBONADO_CHURN_SECONDS ?? 60)]

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, rate: null })
  await applyObjects([network])
})
afterAll(() => lab?.down())
/** What a test that failed left is not the next one's. */
afterEach(() =>
  kubectl(['delete', 'pod', '-l', 'app in (test,churn)', '--wait=true', '--timeout=60s'], { deadline: 65_000 }),
)

const network = {
  apiVersion: 'carbonado.io/v1alpha1',
  kind: 'Network',
  metadata: { name: 'blue' },
  spec: { subnets: [{ cidr: '10.30.0.0/22', gateway: '10.30.0.1' }], vlan: 100 },
}

interface PodPlace {
  node?: string
  namespace?: string
  app?: string
}

function pod(name: string, { node, namespace = 'default', app = 'test' }: PodPlace = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app }, annotations: { 'carbonado.io/endpoint0': '{"network":"blue"}' } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command: ['sleep', 'infinity'] }],
    },
  } // prettier-ignore
}

async function start(...pods: [string, PodPlace?][]): Promise<void> {
  await applyObjects(pods.map(([name, place]) => pod(name, place)))
  for (const [name, { namespace = 'default' } = {}] of pods) {
    await kubectl(['-n', namespace, 'wait', 'pod', name, '--for=condition=Ready', '--timeout=120s'], { deadline: 125_000 }) // prettier-ignore
  }
}

const remove = (...names: string[]): Promise<string> =>
  kubectl(['delete', 'pod', ...names, '--wait=true', '--timeout=90s'], { deadline: 95_000 })

const addressOf = (name: string): Promise<string> => kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.podIP}'])

const identityOf = (name: string): Promise<string> =>
  kubectl([
    'get',
    'pod',
    name,
    '-o',
    'jsonpath={.metadata.uid} {.status.podIP} {.status.containerStatuses[0].restartCount}',
  ])

const endpointNames = (): Promise<string> =>
  kubectl(['get', 'endpoints.carbonado.io,addressclaims,macclaims', '-A', '-o', 'name'])

/** Fifty numbered packets each second from one pod to another, by the node itself, so that it goes on without API server. */
class Flow {
  readonly #running: Promise<{ stdout: string }>

  private constructor(running: Promise<{ stdout: string }>) {
    this.#running = running
    running.catch(() => {}) // told by `lost`
  }

  static async between(from: string, to: string, seconds: number): Promise<Flow> {
    const node = await kubectl(['get', 'pod', from, '-o', 'jsonpath={.spec.nodeName}'])
    const address = await addressOf(to)
    const { stdout } = await lab.nodeExec(node, ['pgrep', '-f', '^sleep infinity'])
    const own = await addressOf(from)
    for (const pid of stdout.trim().split('\n')) {
      const inside = ['nsenter', `--net=/proc/${pid}/ns/net`]
      const addresses = await lab.nodeExec(node, [...inside, 'ip', '-4', 'addr']).catch(() => ({ stdout: '' }))
      if (!addresses.stdout.includes(`${own}/`)) continue
      const ping = [...inside, 'ping', '-q', '-i', '0.02', '-w', String(seconds), address]
      return new Flow(lab.nodeExec(node, ping, { deadline: (seconds + 30) * 1000 }))
    }
    throw new Error(`no process of pod ${from} on ${node}`)
  }

  /** Lost packets, once the time is up. */
  async lost(): Promise<number> {
    const { stdout } = await this.#running
    const [, sent, received] = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(stdout)!
    expect(Number(sent)).toBeGreaterThan(100)
    return Number(sent) - Number(received)
  }
}

/** How many endpoints have an interface on the host's side of a node. */
async function interfacesOf(node: string): Promise<number> {
  const { stdout } = await lab.nodeExec(node, ['ip', '-br', 'link', 'show', 'type', 'veth'])
  return stdout.split('\n').filter((line) => line.startsWith('cbn')).length
}

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0)

async function interfacesEverywhere(): Promise<number[]> {
  return Promise.all(lab.nodes.map((node) => interfacesOf(node)))
}

describe('while two pods talk', () => {
  test.each<NodeProgram>(['kubelet', 'containerd'])(
    '%s is killed and started again: nothing is lost',
    async (program) => {
      await start(['a', { node: 'n1' }], ['b', { node: 'n2' }])
      const before = [await identityOf('a'), await identityOf('b')]
      const flow = await Flow.between('a', 'b', 20)
      await endProgram(`n1-${program}`, 'SIGKILL')
      await sleep(2_000)
      await startNodeProgram('n1', program)
      await start(['c', { node: 'n1' }])
      expect(await flow.lost()).toBe(0)
      expect([await identityOf('a'), await identityOf('b')]).toEqual(before)
      await remove('a', 'b', 'c')
      await expect.poll(endpointNames, { timeout: 30_000 }).toBe('')
    },
  )

  test('agent and control are rolled by helm upgrade: nothing is lost', async () => {
    await start(['a', { node: 'n1' }], ['b', { node: 'n2' }])
    const flow = await Flow.between('a', 'b', 45)
    const generation = (): Promise<string> =>
      kubectl(['-n', 'carbonado-system', 'get', 'pods', '-o', 'jsonpath={.items[*].metadata.uid}'])
    const old = (await generation()).split(' ')
    await installCarbonado({ 'agent.uplink.rate': '100G' })
    const left = async (): Promise<string[]> => (await generation()).split(' ').filter((uid) => old.includes(uid))
    await expect.poll(left, { timeout: 60_000 }).toEqual([]) // helm does not wait for the last agent
    await start(['c', { node: 'n1' }])
    expect(await flow.lost()).toBe(0)
    await remove('a', 'b', 'c')
  })

  test('the API server is away for two minutes, then the chart is removed and installed again: nothing is lost', async () => {
    await start(['a', { node: 'n1' }], ['b', { node: 'n2' }], ['gone', { node: 'n1' }])
    const before = [await identityOf('a'), await identityOf('b')]
    const objects = await endpointNames()
    const quiet = await Flow.between('a', 'b', outage - 10)
    await endProgram('kube-apiserver', 'SIGKILL')
    await sleep(outage * 1000)
    expect(await quiet.lost()).toBe(0)
    await startControlPlaneProgram('kube-apiserver')
    await waitForApiServer()
    await waitForReadyKubernetesNodes()
    expect(await endpointNames()).toBe(objects)
    await start(['later', { node: 'n2' }])
    await remove('gone', 'later')
    expect([await identityOf('a'), await identityOf('b')]).toEqual(before)

    await expect.poll(endpointNames, { timeout: 60_000 }).not.toContain('later')
    const flow = await Flow.between('a', 'b', 60)
    const kept = await endpointNames()
    await helm(['uninstall', 'carbonado', '--wait', '--timeout', '60s'])
    await kubectl(['-n', 'carbonado-system', 'wait', 'pod', '--all', '--for=delete', '--timeout=120s'], {
      deadline: 125_000,
    })
    expect(await endpointNames()).toBe(kept)
    expect(await kubectl(['get', 'networks', '-o', 'name'])).toContain('blue')
    await installCarbonado()
    expect(await flow.lost()).toBe(0)
    await start(['fresh', { node: 'n1' }])
    expect(new Set([await addressOf('a'), await addressOf('b'), await addressOf('fresh')]).size).toBe(3)
    await remove('a', 'b', 'fresh')
    await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  })

  test('the kinds are changed with objects in place', async () => {
    await start(['a', { node: 'n1' }], ['b', { node: 'n2' }])
    const objects = await endpointNames()
    const flow = await Flow.between('a', 'b', 15)
    const folder = join(projectRoot, 'deploy', 'chart', 'templates', 'crds')
    const column = { name: 'New', type: 'string', jsonPath: '.metadata.name' }
    for (const file of readdirSync(folder)) {
      const definition = parse(readFileSync(join(folder, file), 'utf8')) as {
        spec: { versions: { additionalPrinterColumns?: object[] }[] }
      }
      definition.spec.versions[0]!.additionalPrinterColumns ??= []
      definition.spec.versions[0]!.additionalPrinterColumns.push(column)
      await applyObjects([definition])
    }
    await expect.poll(() => kubectl(['get', 'endpoints.carbonado.io']), { timeout: 20_000 }).toMatch(/\bNEW\b/)
    expect(await endpointNames()).toBe(objects)
    await start(['c', { node: 'n1' }])
    expect(await flow.lost()).toBe(0)
    await remove('a', 'b', 'c')
    await expect.poll(endpointNames, { timeout: 30_000 }).toBe('')
  })
})

describe('a node', () => {
  test('is drained: its pods end and their addresses are free, and it takes pods again', async () => {
    const before = await interfacesOf('n3')
    await start(['a', { node: 'n3' }], ['b', { node: 'n2' }])
    expect(await interfacesOf('n3')).toBe(before + 1)
    await kubectl(['drain', 'n3', '--ignore-daemonsets', '--force', '--delete-emptydir-data', '--timeout=90s'], { deadline: 95_000 }) // prettier-ignore
    await expect.poll(endpointNames, { timeout: 30_000 }).not.toContain('/a-')
    await expect.poll(() => interfacesOf('n3'), { timeout: 30_000 }).toBe(before)
    await kubectl(['uncordon', 'n3'])
    await start(['c', { node: 'n3' }])
    await remove('b', 'c')
  })

  test('loses power and comes back: what was on it is gone from kernel and store, and it works', async () => {
    await start(['a', { node: 'n3' }], ['b', { node: 'n2' }])
    await lab.killNode('n3')
    await kubectl(['wait', 'node', 'n3', '--for=condition=Ready=Unknown', '--timeout=90s'], { deadline: 95_000 })
    await kubectl(['delete', 'pod', 'a', '--wait=false'])
    await lab.startNode('n3')
    await waitForReadyKubernetesNodes()
    await kubectl(['wait', 'pod', 'a', '--for=delete', '--timeout=120s'], { deadline: 125_000 })
    await start(['c', { node: 'n3' }])
    const flow = await Flow.between('b', 'c', 5)
    expect(await flow.lost()).toBe(0)
    await remove('b', 'c')
    await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  })

  test('is deleted and joins again', async () => {
    await kubectl(['delete', 'node', 'n3'])
    await endProgram('n3-kubelet', 'SIGKILL')
    await startNodeProgram('n3', 'kubelet')
    await expect.poll(() => kubectl(['get', 'nodes', '-o', 'name']), { timeout: 60_000 }).toContain('node/n3')
    await waitForReadyKubernetesNodes()
    await start(['c', { node: 'n3' }])
    await remove('c')
    await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  })
})

test('a namespace goes with its pods, and nothing of them stays', async () => {
  const before = await interfacesEverywhere()
  await kubectl(['create', 'namespace', 'short'])
  await kubectl(['-n', 'short', 'create', 'serviceaccount', 'default']).catch(() => {})
  await start(...[0, 1, 2, 3, 4, 5].map((index): [string, PodPlace] => [`p${index}`, { namespace: 'short' }]))
  expect(sum(await interfacesEverywhere())).toBe(sum(before) + 6)
  await kubectl(['delete', 'namespace', 'short', '--timeout=120s'], { deadline: 125_000 })
  await expect.poll(endpointNames, { timeout: 30_000 }).toBe('')
  await expect.poll(interfacesEverywhere, { timeout: 30_000 }).toEqual(before)
})

test('pods come and go all the time, and everything ends where it began', async () => {
  const before = await interfacesEverywhere()
  const end = Date.now() + churn * 1000
  for (let round = 0; Date.now() < end; round += 1) {
    await applyObjects(Array.from({ length: 33 }, (_, index) => pod(`churn-${round}-${index}`, { app: 'churn' })))
    await sleep(Math.random() * 8_000) // some are not even started when they are deleted
    await kubectl(['delete', 'pod', '-l', 'app=churn', '--wait=true', '--timeout=180s'], { deadline: 185_000 })
  }
  await expect.poll(endpointNames, { timeout: 60_000 }).toBe('')
  await expect.poll(interfacesEverywhere, { timeout: 30_000 }).toEqual(before)
})
