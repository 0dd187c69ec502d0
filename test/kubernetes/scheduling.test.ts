import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { applyObjects, imageReference, kubectl } from '../../lab/kubernetes/index.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true })
  await applyObjects([
    carbonado('Network', 'blue', { subnets: [{ cidr: '10.30.0.0/22', gateway: '10.30.0.1' }], vlan: 100 }),
    carbonado('PerfTier', 'forty', { networkBandwidth: '40M' }),
  ])
})
afterAll(() => lab?.down())

function carbonado(kind: string, name: string, spec: object): object {
  return { apiVersion: 'carbonado.io/v1alpha1', kind, metadata: { name }, spec }
}

function pod(name: string, endpoint: object | undefined, spec: object = {}): object {
  const annotations = endpoint ? { 'carbonado.io/endpoint0': JSON.stringify(endpoint) } : {}
  const container = { name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command: ['sleep', 'infinity'] } // prettier-ignore
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'test' }, annotations },
    spec: { terminationGracePeriodSeconds: 0, containers: [container], ...spec },
  }
}

interface PodObject {
  metadata: { name: string }
  spec: { nodeName?: string }
  status: { phase: string; conditions?: { type: string; status: string; reason?: string; message?: string }[] }
}

async function list<T>(...what: string[]): Promise<T[]> {
  return (JSON.parse(await kubectl(['get', ...what, '-o', 'json'])) as { items: T[] }).items
}

const pods = (): Promise<PodObject[]> => list<PodObject>('pods', '-l', 'app=test')

const nothingLeft = async (): Promise<void> => {
  await kubectl(['delete', 'pod', '-l', 'app=test', '--wait=true', '--timeout=110s'], { deadline: 115_000 })
  await expect
    .poll(() => kubectl(['get', 'endpoints.carbonado.io,addressclaims,macclaims', '-A', '-o', 'name']), {
      timeout: 20_000,
    }) // prettier-ignore
    .toBe('')
}

describe('the scheduler of Kubernetes', () => {
  test('overcommits no node, with two hundred pods at once', async () => {
    const room = async (): Promise<(string | undefined)[]> => {
      const nodes = await list<{ status: { allocatable: Record<string, string> } }>('nodes')
      return nodes.map(({ status }) => status.allocatable['carbonado.io/bandwidth'])
    }
    await expect.poll(room, { timeout: 10_000 }).toEqual(['940M', '940M', '940M'])
    await applyObjects(Array.from({ length: 200 }, (_, index) => pod(`many${index}`, { network: 'blue', perfTier: 'forty' }))) // prettier-ignore
    const fitting = 3 * Math.floor(940 / 40)
    const count = (all: PodObject[], phase: string): number => all.filter(({ status }) => status.phase === phase).length
    await expect.poll(async () => count(await pods(), 'Running'), { timeout: 150_000, interval: 1_000 }).toBe(fitting)
    const all = await pods()
    const waiting = all.filter(({ status }) => status.phase === 'Pending')
    expect(waiting).toHaveLength(200 - fitting)
    // none was bound and hangs in ContainerCreating: the surplus has no node, and says why
    expect(waiting.filter(({ spec }) => spec.nodeName !== undefined)).toEqual([])
    for (const { status } of waiting) {
      const scheduled = status.conditions?.find(({ type }) => type === 'PodScheduled')
      expect(scheduled).toMatchObject({ status: 'False', reason: 'Unschedulable' })
      expect(scheduled?.message).toMatch(/3 Insufficient carbonado.io\/bandwidth/)
    }
    const endpoints = await list<{ spec: { nodeName: string }; status: { allocation: { bandwidthFloor: number } } }>('endpoints.carbonado.io') // prettier-ignore
    for (const node of ['n1', 'n2', 'n3']) {
      const floors = endpoints.filter(({ spec }) => spec.nodeName === node).map(({ status }) => status.allocation.bandwidthFloor) // prettier-ignore
      expect(floors.reduce((sum, floor) => sum + floor, 0)).toBeLessThanOrEqual(940e6)
    }
    await nothingLeft()
  }, 300_000)
})

describe('kubectl apply', () => {
  const refused = (object: object): Promise<string> =>
    applyObjects([object]).then(
      () => 'it was accepted',
      (error: unknown) => String((error as { stderr?: string }).stderr ?? error),
    )

  test.each<[string, () => object, RegExp]>([
    ['a network that does not exist', () => pod('lost', { network: 'purple' }), /network purple does not exist/],
    ['a key that is not known', () => pod('typo', { netwrk: 'blue' }), /unknown key "netwrk"/],
    ['an interface on the network of the node', () => pod('host', { network: 'blue' }, { hostNetwork: true }), /hostNetwork/],
    ['a mistake in a template', () => deployment('{"network":'), /is not JSON/],
    ['a network that overlaps another', () => carbonado('Network', 'over', { subnets: [{ cidr: '10.30.1.0/24' }], vlan: 101 }), /overlaps 10.30.0.0\/22 of network blue/],
  ])('refuses %s', async (_what, object, why) => {
    expect(await refused(object())).toMatch(why)
  }) // prettier-ignore

  function deployment(annotation: string): object {
    const labels = { app: 'typo' }
    const template = { metadata: { labels, annotations: { 'carbonado.io/endpoint0': annotation } }, spec: { containers: [{ name: 'main', image: 'none' }] } } // prettier-ignore
    return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'typo' }, spec: { selector: { matchLabels: labels }, template } } // prettier-ignore
  }
})
