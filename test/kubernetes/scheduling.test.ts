import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { applyObjects, imageReference, kubectl, programs } from '../../lab/kubernetes/index.ts'

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
  await kubectl(['delete', 'pod', '-l', 'app=test', '--wait=true', '--timeout=400s'], { deadline: 405_000 })
  await expect
    .poll(() => kubectl(['get', 'endpoints.carbonado.io,addressclaims,macclaims', '-A', '-o', 'name']), {
      timeout: 120_000,
    }) // prettier-ignore
    .toBe('')
}

describe('the scheduler of Kubernetes', () => {
  test('overcommits no node, with two hundred pods at once', async () => {
    const room = async (): Promise<(string | undefined)[]> => {
      const nodes = await list<{ status: { allocatable: Record<string, string> } }>('nodes')
      return nodes.map(({ status }) => status.allocatable['carbonado.io/bandwidth'])
    }
    await expect.poll(room, { timeout: 120_000 }).toEqual(['940M', '940M', '940M'])
    await applyObjects(Array.from({ length: 200 }, (_, index) => pod(`many${index}`, { network: 'blue', perfTier: 'forty' }))) // prettier-ignore
    const fitting = 3 * Math.floor(940 / 40)
    const count = (all: PodObject[], phase: string): number => all.filter(({ status }) => status.phase === phase).length
    await expect.poll(async () => count(await pods(), 'Running'), { timeout: 400_000, interval: 1_000 }).toBe(fitting)
    const waiting = async (): Promise<PodObject[]> => (await pods()).filter(({ status }) => status.phase === 'Pending')
    const whyOf = ({ status }: PodObject): string | undefined =>
      status.conditions?.find(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable')?.message
    // None was bound and hangs in ContainerCreating: the surplus has no node, and says why. Mostly it is the scheduler that
    // knows; of a node whose last room another pod took a moment before, control.
    const unexplained = async (): Promise<unknown[]> =>
      (await waiting()).map(whyOf).filter((why) => !/^0\/3 nodes .*bandwidth/.test(why ?? ''))
    await expect.poll(unexplained, { timeout: 60_000, interval: 1_000 }).toEqual([])
    expect(await waiting()).toHaveLength(200 - fitting)
    expect((await waiting()).filter(({ spec }) => spec.nodeName !== undefined)).toEqual([])
    const endpoints = await list<{ spec: { nodeName: string }; status: { allocation: { bandwidthFloor: number } } }>('endpoints.carbonado.io') // prettier-ignore
    for (const node of ['n1', 'n2', 'n3']) {
      const floors = endpoints.filter(({ spec }) => spec.nodeName === node).map(({ status }) => status.allocation.bandwidthFloor) // prettier-ignore
      expect(floors.reduce((sum, floor) => sum + floor, 0)).toBeLessThanOrEqual(940e6)
    }
    await nothingLeft()
  }, 900_000)
})

describe('the endpoint of a pod', () => {
  interface EndpointObject {
    metadata: { name: string; ownerReferences?: { kind: string; name: string }[] }
    spec: { nodeName: string; holder?: { containerId: string } }
  }
  const endpoints = (): Promise<EndpointObject[]> => list<EndpointObject>('endpoints.carbonado.io')
  const address = (): Promise<string> => kubectl(['get', 'pod', 'long', '-o', 'jsonpath={.status.podIP}'])
  const ready = (): Promise<string> => kubectl(['wait', 'pod', 'long', '--for=condition=Ready', '--timeout=90s'], { deadline: 95_000 }) // prettier-ignore

  test('belongs to the pod, keeps its address when the sandbox is made anew, and goes with the pod', async () => {
    await applyObjects([pod('long', { network: 'blue' }, { restartPolicy: 'Always' })])
    await ready()
    const before = await address()
    const [endpoint] = await endpoints()
    expect(endpoint!.metadata.ownerReferences).toMatchObject([{ kind: 'Pod', name: 'long' }])
    const sandbox = endpoint!.spec.holder!.containerId
    await lab.nodeExec(endpoint!.spec.nodeName, ['env', `PATH=${programs.containerd}:/usr/bin:/bin`, 'ctr', '-n', 'k8s.io', 'tasks', 'kill', '-s', '9', sandbox]) // prettier-ignore
    const holder = async (): Promise<string | undefined> => (await endpoints())[0]?.spec.holder?.containerId
    await expect.poll(async () => [undefined, sandbox].includes(await holder()), { timeout: 60_000 }).toBe(false)
    await ready()
    expect(await address()).toBe(before)
    expect(await endpoints()).toHaveLength(1)
    await nothingLeft()
  })

  test('of a pod that has ended is given back, although the pod is still there', async () => {
    const container = { name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command: ['true'] }
    await applyObjects([pod('short', { network: 'blue' }, { restartPolicy: 'Never', containers: [container] })])
    const phase = (): Promise<string> => kubectl(['get', 'pod', 'short', '-o', 'jsonpath={.status.phase}'])
    await expect.poll(phase, { timeout: 60_000 }).toBe('Succeeded')
    await expect.poll(endpoints, { timeout: 120_000 }).toEqual([])
    await nothingLeft()
  })
})

describe('a pod that fits nowhere', () => {
  const eventsOf = (name: string): Promise<string> =>
    kubectl(['get', 'events', '--field-selector', `involvedObject.name=${name}`, '-o', 'jsonpath={.items[*].message}'])

  test('is told why, with numbers', async () => {
    await applyObjects([
      carbonado('Network', 'tiny', { subnets: [{ cidr: '10.32.0.0/30', gateway: '10.32.0.1' }], vlan: 102 }),
      carbonado('PerfTier', 'huge', { networkBandwidth: '2G' }),
    ])
    await applyObjects([pod('only', { network: 'tiny' })])
    await kubectl(['wait', 'pod', 'only', '--for=condition=Ready', '--timeout=60s'], { deadline: 65_000 })
    await applyObjects([pod('late', { network: 'tiny' }), pod('large', { network: 'blue', perfTier: 'huge' })])
    // the extender says it in the words of the scheduler, control where the scheduler itself has none
    await expect
      .poll(() => eventsOf('late'), { timeout: 120_000 })
      .toMatch(/3 network tiny: needs 1 address, has 0 of 1 left/)
    await expect
      .poll(() => eventsOf('large'), { timeout: 120_000 })
      .toMatch(/nodes n1, n2, n3: needs 2 Gbit\/s, it has 940 Mbit\/s of 940 Mbit\/s left/)
    // and goes on as soon as there is room
    await kubectl(['delete', 'pod', 'only', '--wait=true'])
    await kubectl(['wait', 'pod', 'late', '--for=condition=Ready', '--timeout=90s'], { deadline: 95_000 })
    await nothingLeft()
  })
})

describe('while control is down', () => {
  const scale = (replicas: number): Promise<string> => kubectl(['-n', 'carbonado-system', 'scale', 'deployment/carbonado-control', `--replicas=${replicas}`]) // prettier-ignore
  const nodeOf = (name: string): Promise<string> => kubectl(['get', 'pod', name, '-o', 'jsonpath={.spec.nodeName}'])

  test('pods are scheduled as ever, and only those that ask for interfaces cannot be made', async () => {
    await applyObjects([pod('gated', { network: 'blue' }, { schedulingGates: [{ name: 'test/control-is-down' }] })])
    await scale(0)
    await kubectl(['-n', 'carbonado-system', 'wait', 'pod', '-l', 'app.kubernetes.io/component=control', '--for=delete', '--timeout=60s'], { deadline: 65_000 }) // prettier-ignore
    try {
      await applyObjects([pod('plain', undefined), pod('host', undefined, { hostNetwork: true })])
      await kubectl(['patch', 'pod', 'gated', '--type=json', '-p', '[{"op":"remove","path":"/spec/schedulingGates"}]'])
      for (const name of ['plain', 'host', 'gated']) {
        await expect.poll(() => nodeOf(name), { timeout: 30_000 }).toMatch(/^n[123]$/)
      }
      await kubectl(['wait', 'pod', 'host', '--for=condition=Ready', '--timeout=60s'], { deadline: 65_000 })
      await expect(applyObjects([pod('asking', { network: 'blue' })])).rejects.toMatchObject({
        stderr: expect.stringMatching(/failed calling webhook "annotated.pods.carbonado.io"/) as string,
      })
    } finally {
      await scale(2)
    }
    await kubectl(['-n', 'carbonado-system', 'rollout', 'status', 'deployment/carbonado-control', '--timeout=90s'], { deadline: 95_000 }) // prettier-ignore
    await kubectl(['wait', 'pod', 'gated', '--for=condition=Ready', '--timeout=90s'], { deadline: 95_000 })
    await nothingLeft()
  })
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

describe('a pod whose node is dead, deleted by force', () => {
  test('keeps its static endpoint until the node is stated to be off', async () => {
    const busy = (await list<PodObject>('pods', '-n', 'carbonado-system', '-l', 'app.kubernetes.io/component=control')).map(({ spec }) => spec.nodeName) // prettier-ignore
    const victim = lab.nodes.find((node) => !busy.includes(node))!
    const other = lab.nodes.find((node) => node !== victim)!
    const on = (node: string): object => ({ nodeSelector: { 'kubernetes.io/hostname': node }, tolerations: [{ operator: 'Exists' }] }) // prettier-ignore
    const endpoint = async (): Promise<Record<string, unknown>> => JSON.parse(await kubectl(['get', 'endpoints.carbonado.io', 'desk', '-o', 'json'])) as Record<string, unknown> // prettier-ignore
    await applyObjects([{ ...carbonado('Endpoint', 'desk', { networkName: 'blue', isStatic: true }), metadata: { name: 'desk', namespace: 'default' } }]) // prettier-ignore
    await applyObjects([pod('holder', { endpointId: 'desk' }, on(victim))])
    await kubectl(['wait', 'pod', 'holder', '--for=condition=Ready', '--timeout=60s'], { deadline: 65_000 })
    const address = await kubectl(['get', 'pod', 'holder', '-o', 'jsonpath={.status.podIP}'])
    await lab.killNode(victim)
    await kubectl(['delete', 'pod', 'holder', '--force', '--grace-period=0'])
    await applyObjects([pod('heir', { endpointId: 'desk' }, on(other))])
    const events = (): Promise<string> => kubectl(['get', 'events', '--field-selector', 'involvedObject.name=heir', '-o', 'jsonpath={.items[*].message}']) // prettier-ignore
    await expect
      .poll(events, { timeout: 120_000 })
      .toMatch(new RegExp(`desk is held by pod default/holder on node ${victim}`))
    // not when control calls the node dead, either: it may only be cut off
    const ready = (): Promise<string> =>
      kubectl(['get', 'nodes.carbonado.io', victim, '-o', 'jsonpath={.status.ready.state}'])
    await expect.poll(ready, { timeout: 60_000 }).toBe('false')
    expect(await endpoint()).toMatchObject({ spec: { nodeName: victim, holder: { pod: { name: 'holder' } } } })
    await kubectl(['taint', 'node', victim, 'node.kubernetes.io/out-of-service=nodeshutdown:NoExecute'])
    await kubectl(['wait', 'pod', 'heir', '--for=condition=Ready', '--timeout=90s'], { deadline: 95_000 })
    expect(await kubectl(['get', 'pod', 'heir', '-o', 'jsonpath={.status.podIP}'])).toBe(address)
    expect(await endpoint()).toMatchObject({ spec: { nodeName: other, holder: { pod: { name: 'heir' } } } })
  }, 600_000)
})
