import { setTimeout as sleep } from 'node:timers/promises'
import { parseQuantity } from '../../src/api/index.ts'
import { Lab, takeLabDown, type Host } from '../index.ts'
import { applyObjects, installDns, kubectl } from '../kubernetes/index.ts'
import {
  databaseObjects,
  databaseTier,
  networkObjects,
  nodePort,
  provideWordpressImages,
  webEndpoints,
  webObjects,
} from '../wordpress/index.ts'
import { runDemo, sayOutcome } from './frame.ts'
import type { Narrator } from './narration.ts'

/** A pod of the site as `kubectl get pods -o wide` has it. */
interface SitePod {
  name: string
  node: string
  address: string
}

/** Runs the demo on a fresh lab. */
async function demo(narrator: Narrator): Promise<void> {
  const started = Date.now()
  const seconds = (): string => `${((Date.now() - started) / 1000).toFixed(0)} s`
  narrator.say(
    'Carbonado on Kubernetes: WordPress in three replicas, each with its own address on the corporate network.',
  )
  await takeLabDown()
  const lab = await Lab.up({ nodes: 3, rate: null, kubernetes: true })
  narrator.say(`Kubernetes on three nodes, and Carbonado by its chart, after ${seconds()}.`)
  const client = await lab.addHost({ name: 'client', vlan: 100, address: '10.30.0.7/24' })
  await createNetworks(narrator)
  narrator.step(2, 'WordPress and its database')
  narrator.explain(
    "Their images are packed from Debian's packages, without a registry; the first time that takes minutes.",
  )
  await provideWordpressImages(lab.nodes)
  await installDns(lab.nodes)
  await startSite(narrator, await formatDrives(narrator, lab))
  await reachReplicas(narrator, client)
  await reachService(narrator, lab)
  await losePower(narrator, lab, client)
  await loseTheDatabase(narrator, lab)
  await lab.close()
  conclude(narrator, seconds())
}

/** Runs kubectl and shows it as if typed. */
async function show(narrator: Narrator, line: string): Promise<string> {
  narrator.command(`kubectl ${line}`)
  const printed = await kubectl(line.split(' '))
  narrator.output(printed)
  return printed
}

async function createNetworks(narrator: Narrator): Promise<void> {
  narrator.step(1, 'Networks of the company, and addresses that stay')
  narrator.explain(
    'VLAN 100 is where the company has its hosts. Its switch and firewalls see pods there like any server.',
  )
  await applyObjects(networkObjects())
  narrator.explain(
    'Two networks, and the static endpoints web-0 to web-2 (all objects of this demo: lab/wordpress/objects.ts):',
  )
  narrator.command('kubectl apply -f networks.yaml -f endpoints.yaml')
  await show(narrator, 'get networks')
}

/** Gives the drive of every node to volumes, one after the other: each is measured alone. Returns the most IOPS that one promises. */
async function formatDrives(narrator: Narrator, lab: Lab): Promise<number> {
  narrator.explain('The drives of the nodes become pools for volumes. Each is measured, alone, which takes some seconds;')
  narrator.explain('nine tenths of what it gives can be promised.')
  const list = async (path: string): Promise<string[]> =>
    (await kubectl(['get', 'drives.carbonado.io', '-o', `jsonpath={.items[*]${path}}`])).split(' ').filter(Boolean)
  await waitFor(async () => (await list('.metadata.name')).length === lab.nodes.length, 60_000)
  for (const [index, name] of (await list('.metadata.name')).entries()) {
    const wish = JSON.stringify({ spec: { format: { requestId: `demo-${name}` } } })
    await kubectl(['patch', 'drives.carbonado.io', name, '--type=merge', '-p', wish])
    await waitFor(async () => (await list('.status.capacity.iops.total')).filter((total) => total !== '0').length > index, 60_000)
  }
  await show(narrator, 'get drives.carbonado.io')
  return Math.max(0, ...(await list('.status.capacity.iops.total')).map(Number))
} // prettier-ignore

async function startSite(narrator: Narrator, promisable: number): Promise<void> {
  const wanted = parseQuantity(databaseTier.spec.storageIops!, 'storageIops')
  const less = promisable < wanted ? Math.floor(promisable / 2) : undefined
  if (less === undefined) {
    narrator.explain(`MariaDB claims a volume of the class carbonado-${databaseTier.name}: at least ${wanted} IOPS, whatever its neighbours do.`)
  } else {
    narrator.explain(`Volumes of tier ${databaseTier.name} are promised ${wanted} IOPS. This machine's disk gives less than that now, so no`)
    narrator.explain(`drive would take one. MariaDB claims one of a tier of its own, ${less} IOPS.`)
  }
  narrator.explain('The web replicas take the endpoints web-0 to web-2, whichever is free:')
  narrator.explain(`carbonado.io/endpoint0: '{"endpointPrefix":"web"}'`)
  narrator.command('kubectl apply -f wordpress.yaml')
  await applyObjects([...databaseObjects(less), ...webObjects()])
  await kubectl(['rollout', 'status', 'deployment/web', '--timeout=180s'], { deadline: 185_000 })
  await show(narrator, 'get persistentvolumeclaims')
  await show(narrator, 'get volumes.carbonado.io')
  await show(narrator, 'get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,IP:.status.podIP')
} // prettier-ignore

async function sitePods(): Promise<SitePod[]> {
  const columns = '{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{"\\n"}{end}'
  const flags = ['-l', 'app=web', '--field-selector=status.phase=Running', '-o', `jsonpath=${columns}`]
  const lines = (await kubectl(['get', 'pods', ...flags])).trim().split('\n')
  return lines.map((line) => line.split(' ')).map(([name, node, address]) => ({ name: name!, node: node!, address: address! })) // prettier-ignore
}

/** Who answered a request of the client, and whether it was WordPress. */
async function ask(client: Host, url: string): Promise<{ replica: string | undefined; isSite: boolean }> {
  const { stdout } = await client.exec(['curl', '-sS', '-i', '-m', '10', url]).catch(() => ({ stdout: '' }))
  return { replica: /^x-replica: (\S+)/im.exec(stdout)?.[1], isSite: /<title>Carbonado/.test(stdout) }
}

async function reachReplicas(narrator: Narrator, client: Host): Promise<void> {
  narrator.step(3, 'A host on the corporate network reaches each replica by its own address')
  narrator.explain(
    'The client is 10.30.0.7 on an access port of the switch. No Service, no NAT, no ingress is on the way.',
  )
  for (const { name, node, address } of await sitePods()) {
    const { replica, isSite } = await ask(client, `http://${address}/`)
    narrator.check(isSite && replica === name, `http://${address}/ is WordPress, answered by ${replica} on ${node}`)
  }
}

async function reachService(narrator: Narrator, lab: Lab): Promise<void> {
  narrator.step(4, 'The same by a Service, where one is wanted')
  await show(narrator, 'get service web mariadb')
  const outside = await lab.addHost({ name: 'outside', vlan: 0, address: '10.77.0.200/24' })
  const replicas = new Set<string>()
  for (let request = 0; request < 12; request += 1) {
    const { replica, isSite } = await ask(outside, `http://10.77.0.${11 + (request % 3)}:${nodePort}/`)
    if (isSite && replica) replicas.add(replica)
  }
  narrator.check(
    replicas.size > 1,
    `12 requests to the node port of all nodes were answered by ${replicas.size} replicas`,
  )
}

async function losePower(narrator: Narrator, lab: Lab, client: Host): Promise<void> {
  narrator.step(5, 'A node loses its power')
  const database = await kubectl(['get', 'pods', '-l', 'app=mariadb', '-o', 'jsonpath={.items[0].spec.nodeName}'])
  const before = await sitePods()
  const lost = before.find(({ node }) => node !== database)!
  const started = Date.now()
  narrator.explain(`${lost.node} is switched off; it had ${lost.name} with ${lost.address}. The database is on ${database}.`)
  await lab.killNode(lost.node)
  narrator.explain('Nobody but you can know that it will not send again: say so, and what it held is free.')
  await waitFor(async () => (await kubectl(['get', 'node', lost.node])).includes('NotReady'), 90_000)
  await show(narrator, `taint node ${lost.node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`)
  const isBack = await waitFor(async () => (await ask(client, `http://${lost.address}/`)).isSite, 120_000)
  const took = ((Date.now() - started) / 1000).toFixed(0)
  const after = (await sitePods()).filter(({ node }) => node !== lost.node)
  const now = after.find(({ address }) => address === lost.address)
  narrator.check(isBack && now !== undefined, `${lost.address} answers again after ${took} s, from ${now?.node}`)
  const wanted = webEndpoints.map(({ address }) => address)
  narrator.check(wanted.every((address) => after.some((pod) => pod.address === address)), `all three have the addresses they had: ${wanted.join(', ')}`) // prettier-ignore
  await show(narrator, 'get endpoints.carbonado.io')
} // prettier-ignore

/** A volume with one copy cannot move: the pod of the database says so instead of hanging. */
async function loseTheDatabase(narrator: Narrator, lab: Lab): Promise<void> {
  narrator.step(6, 'The node of the database loses its power, too')
  const node = await kubectl(['get', 'pods', '-l', 'app=mariadb', '-o', 'jsonpath={.items[0].spec.nodeName}'])
  await lab.killNode(node)
  await waitFor(async () => (await kubectl(['get', 'node', node])).includes('NotReady'), 90_000)
  await show(narrator, `taint node ${node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`)
  const words = async (): Promise<string> => {
    const pending = ['get', 'pods', '-l', 'app=mariadb', '--field-selector=status.phase=Pending']
    return kubectl([...pending, '-o', 'jsonpath={.items[*].status.conditions[?(@.type=="PodScheduled")].message}'])
  }
  const isTold = await waitFor(async () => /volume|affinity/i.test(await words()), 120_000)
  narrator.check(
    isTold,
    `the only copy of its volume is on ${node}; the pod that is to take its place waits, and says why:`,
  )
  narrator.output(await words())
}

async function waitFor(isSo: () => Promise<boolean>, patience: number): Promise<boolean> {
  for (const until = Date.now() + patience; Date.now() < until; await sleep(500)) {
    if (await isSo().catch(() => false)) return true
  }
  return false
}

function conclude(narrator: Narrator, took: string): void {
  sayOutcome(narrator, 'All of it came about.', 'This did not', took)
  narrator.say('The cluster is still up, two of its nodes are off: bin/dctl lab kubectl -- get pods -A -o wide')
  narrator.say('A node gets its power back by: bin/dctl lab start NODE. Remove everything with: make demo-down')
}

await runDemo(demo)
