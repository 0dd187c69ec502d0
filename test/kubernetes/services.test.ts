import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown, type Host } from '../../lab/index.ts'
import { applyObjects, clusterNetwork, imageReference, installDns, kubectl } from '../../lab/kubernetes/index.ts'

const nodes = ['n1', 'n2', 'n3']
/** In both VLANs, so that every request crosses whatever can be crossed. */
const clients = [
  { name: 'blue1', network: 'blue', node: 'n1' },
  { name: 'blue2', network: 'blue', node: 'n2' },
  { name: 'green3', network: 'green', node: 'n3' },
]
const nodePort = 30080

let lab: Lab
let outside: Host

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, rate: null })
  outside = await lab.addHost({ name: 'outside', vlan: 0, address: '10.77.0.200/24' })
  await applyObjects([network('blue', 100, '10.30.0', true), network('green', 200, '10.31.0', false)])
  await installDns(nodes)
  await applyObjects([
    deployment('web', 3),
    service('web', { type: 'NodePort', ports: [{ port: 80, nodePort }] }),
    service('sticky', { selector: { app: 'web' }, sessionAffinity: 'ClientIP', ports: [{ port: 80 }] }),
    service('each', { selector: { app: 'web' }, clusterIP: 'None', ports: [{ port: 80 }] }),
    ...clients.map(({ name, network: wanted, node }) => pod(name, ['sleep', 'infinity'], { network: wanted, nodeName: node })),
  ]) // prettier-ignore
  await ready('app=web', 60)
  await ready('app=client', 60)
})
afterAll(() => lab?.down())

function network(name: string, vlan: number, prefix: string, isDefault: boolean): object {
  const subnets = [{ cidr: `${prefix}.0/24`, gateway: `${prefix}.1` }]
  return { apiVersion: 'carbonado.io/v1alpha1', kind: 'Network', metadata: { name }, spec: { subnets, vlan, isDefault } } // prettier-ignore
}

const answerWithName = 'mkdir -p /tmp/w && hostname > /tmp/w/index.html && exec httpd -f -p 80 -h /tmp/w'

function container(command: string[], probes: object = {}): object {
  return { name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command, ...probes }
}

function pod(name: string, command: string[], { network: wanted, nodeName, probes }: { network?: string; nodeName?: string; probes?: object } = {}): object {
  const annotations = wanted ? { 'carbonado.io/endpoint0': JSON.stringify({ network: wanted }) } : {}
  const spec = { nodeName, terminationGracePeriodSeconds: 0, containers: [container(command, probes)] }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: 'client', name }, annotations }, spec }
} // prettier-ignore

/** One replica on each node, with a probe of each kind that comes over the network. */
function deployment(name: string, replicas: number): object {
  const labels = { app: name }
  const spread = { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'DoNotSchedule', labelSelector: { matchLabels: labels } } // prettier-ignore
  const probes = {
    readinessProbe: { httpGet: { path: '/', port: 80 }, periodSeconds: 1, timeoutSeconds: 10 },
    livenessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1, timeoutSeconds: 10 },
  }
  const containers = [container(['sh', '-c', answerWithName], probes)]
  const spec = { topologySpreadConstraints: [spread], terminationGracePeriodSeconds: 0, containers }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  }
}

function service(name: string, spec: object): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector: { app: name }, ...spec } }
}

const ready = (selector: string, deadline: number): Promise<string> =>
  kubectl(['wait', 'pod', '-l', selector, '--for=condition=Ready', `--timeout=${deadline}s`], { deadline: (deadline + 5) * 1000 }) // prettier-ignore

const from = (name: string, ...command: string[]): Promise<string> => kubectl(['exec', name, '--', ...command])
const fetchOnce = async (name: string, address: string, port = 80): Promise<string> =>
  (await from(name, 'sh', '-c', `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${address} ${port} | tail -n 1`)).trim()
/** What is answered; asks again, at most five times, when a busy machine does not answer in time. */
async function fetchFrom(name: string, address: string, port = 80): Promise<string> {
  let answer = ''
  for (let attempt = 0; answer === '' && attempt < 5; attempt += 1) answer = await fetchOnce(name, address, port)
  return answer
}
const clusterIp = (name: string): Promise<string> => kubectl(['get', 'service', name, '-o', 'jsonpath={.spec.clusterIP}']) // prettier-ignore
const podsOf = async (name: string, field: string): Promise<string[]> =>
  (await kubectl(['get', 'pods', '-l', `app=${name}`, '-o', `jsonpath={.items[*]${field}}`])).split(' ').filter(Boolean)
const isTrue = (work: Promise<unknown>): Promise<boolean> => work.then(() => true, () => false) // prettier-ignore

/** Names of the replicas that answered several requests. */
async function answers(count: number, ask: () => Promise<string>): Promise<Set<string>> {
  const found = new Set<string>()
  for (let request = 0; request < count; request += 1) found.add(await ask())
  return found
}

describe('Services of pods in VLANs, by kube-proxy as it is', () => {
  test.each(clients)('a cluster address from $name in $network on $node reaches every replica', async ({ name }) => {
    const [address, replicas] = [await clusterIp('web'), await podsOf('web', '.metadata.name')]
    const found = new Set<string>()
    for (let request = 0; request < 60 && found.size < replicas.length; request += 1) {
      const answer = await fetchFrom(name, address)
      expect(replicas).toContain(answer)
      found.add(answer)
    }
    expect([...found].sort()).toEqual(replicas.sort())
  })

  test('a node port is reached from a host outside the cluster on every node, and from pods', async () => {
    const replicas = await podsOf('web', '.metadata.name')
    for (const number of [11, 12, 13]) {
      const { stdout } = await outside.exec(['curl', '-sS', '-m', '5', `http://10.77.0.${number}:${nodePort}/`])
      expect(replicas).toContain(stdout.trim())
      expect(replicas).toContain(await fetchFrom('green3', `10.77.0.${number}`, nodePort))
    }
  })

  test('nodes reach every pod on every node; networks reach each other only by Services', async () => {
    const addresses = [...(await podsOf('web', '.status.podIP')), ...(await podsOf('client', '.status.podIP'))]
    expect(addresses).toHaveLength(6)
    for (const node of nodes) {
      for (const address of addresses) {
        const pings = (): Promise<boolean> => isTrue(lab.nodeExec(node, ['ping', '-q', '-c', '1', '-W', '2', address]))
        await expect.poll(pings, { timeout: 60_000, message: `${node} reaches ${address}` }).toBe(true)
      }
    }
    const [blue, green] = [addresses[0]!, addresses.find((address) => address.startsWith('10.31.'))!]
    const pings = (address: string): Promise<boolean> => isTrue(from('blue1', 'ping', '-c', '1', '-W', '2', address))
    await expect.poll(() => pings(blue), { timeout: 60_000 }).toBe(true)
    expect(await pings(green)).toBe(false)
  })

  test('names are resolved, from every node and network: Services, headless ones, and the API server', async () => {
    const [web, replicas] = [await clusterIp('web'), await podsOf('web', '.status.podIP')]
    for (const { name } of clients) {
      expect(await from(name, 'nslookup', 'web.default.svc.cluster.local')).toContain(web)
      expect(await from(name, 'nslookup', 'kubernetes.default.svc.cluster.local')).toContain(clusterNetwork.apiServerService) // prettier-ignore
      const each = await from(name, 'nslookup', 'each.default.svc.cluster.local')
      for (const address of replicas) expect(each).toContain(address)
    }
  })

  test('pods reach the API server: it refuses them as somebody that it does not know', async () => {
    const kubernetes = 'kubernetes.default.svc.cluster.local'
    await applyObjects([pod('caller', ['sleep', 'infinity'], { network: 'green', nodeName: 'n2' })])
    await ready('name=caller', 60)
    // DNS is itself a pod that is Ready only with the API server's answers; here the path of any pod
    expect(await from('caller', 'sh', '-c', `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 ${clusterNetwork.apiServerService} 443`)).toMatch(/HTTPS/) // prettier-ignore
    expect(await from('caller', 'nslookup', kubernetes)).toMatch(/Address/)
    await kubectl(['delete', 'pod', 'caller', '--wait=true'])
  })

  test('a client stays with one replica where the Service says so', async () => {
    const address = await clusterIp('sticky')
    for (const { name } of clients) expect((await answers(12, () => fetchFrom(name, address))).size).toBe(1)
  })

  test('a replica that is killed is replaced, and no request goes to its address any more', async () => {
    const address = await clusterIp('web')
    const [victim] = await podsOf('web', '.metadata.name')
    await kubectl(['delete', 'pod', victim!, '--grace-period=0', '--force'])
    const others = async (): Promise<string[]> =>
      (await podsOf('web', '.metadata.name')).filter((name) => name !== victim)
    await expect.poll(others, { timeout: 60_000 }).toHaveLength(3) // made anew, which ready() would not wait for
    await ready('app=web', 60)
    const replicas = await podsOf('web', '.metadata.name')
    expect(replicas).not.toContain(victim)
    await expect
      .poll(async () => [...(await answers(30, () => fetchOnce('green3', address).catch(() => 'none')))].sort(), {
        timeout: 30_000,
      })
      .toEqual(replicas.sort())
  })
})

describe('probes of kubelet', () => {
  test('by HTTP take a pod out of its Service and put it back', async () => {
    const [name] = await podsOf('web', '.metadata.name')
    const [address] = (await kubectl(['get', 'pod', name!, '-o', 'jsonpath={.status.podIP}'])).split(' ')
    const endpoints = (): Promise<string> => kubectl(['get', 'endpointslices', '-l', 'kubernetes.io/service-name=each', '-o', 'jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}']) // prettier-ignore
    expect(await endpoints()).toContain(address)
    await from(name!, 'mv', '/tmp/w/index.html', '/tmp/w/away')
    await kubectl(['wait', 'pod', name!, '--for=condition=Ready=false', '--timeout=30s'], { deadline: 35_000 })
    await expect.poll(endpoints, { timeout: 10_000 }).not.toContain(address)
    await from(name!, 'mv', '/tmp/w/away', '/tmp/w/index.html')
    await kubectl(['wait', 'pod', name!, '--for=condition=Ready', '--timeout=30s'], { deadline: 35_000 })
    await expect.poll(endpoints, { timeout: 10_000 }).toContain(address)
  })

  test('by TCP and by command restart what does not answer, in any network', async () => {
    const once = { periodSeconds: 1, failureThreshold: 2 }
    await applyObjects([
      pod('deaf', ['sh', '-c', 'timeout 5 httpd -f -p 7; exec sleep 1000'], {
        network: 'green',
        probes: { startupProbe: { tcpSocket: { port: 7 }, ...once, failureThreshold: 20 }, livenessProbe: { tcpSocket: { port: 7 }, ...once } }, // prettier-ignore
      }),
      pod('lazy', ['sleep', '1000'], { probes: { livenessProbe: { exec: { command: ['test', '-e', '/none'] }, ...once } } }), // prettier-ignore
    ])
    for (const name of ['deaf', 'lazy']) {
      await expect
        .poll(
          async () =>
            Number(await kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.containerStatuses[0].restartCount}'])),
          { timeout: 60_000 },
        ) // prettier-ignore
        .toBeGreaterThan(0)
    }
    const events = await kubectl(['get', 'events', '--field-selector', 'involvedObject.name=deaf', '-o', 'jsonpath={.items[*].message}']) // prettier-ignore
    expect(events).toMatch(/Liveness probe failed: dial tcp 10\.31\.0\.\d+:7/)
    await kubectl(['delete', 'pod', 'deaf', 'lazy', '--wait=true'])
  })
})
