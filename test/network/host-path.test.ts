import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Network, type Node } from '../../src/api/index.ts'
import { silentLogger } from '../../src/base/index.ts'
import { StoreFixture } from '../../src/network/controllers/control-fixture.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import { HostPath } from '../../src/network/host-path/index.ts'
import { container, makeNode, startEngine } from '../support/one-node.ts'
import { enterOwnNamespaces, run, runIn, succeeds } from '../support/own-namespaces.ts'

const hostAddress = '169.254.64.7'
const settings = { nodeAddresses: '169.254.64.0/18', services: ['10.96.0.0/16'] }
const node: Node = {
  metadata: { name: 'n1', uid: '5b0d8a3e-0000-4000-8000-000000000001' },
  spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 10 },
  status: { hostAddress },
}

let stores: StoreFixture
let engine: NetworkEngine
let hostPath: HostPath
let [blue, green]: AttachRequest[] = []

function startHostPath(): HostPath {
  const path = new HostPath({ nodeName: 'n1', settings, engine, store: stores.store, logger: silentLogger() })
  path.start()
  path.learn(node)
  return path
}

async function createNetwork(name: string, vlan: number, cidr: string): Promise<void> {
  const spec: Network['spec'] = { vlan, subnets: [{ cidr, ranges: [] }], plane: 'pods', isDefault: false }
  await stores.store.create(Network, { metadata: { name }, spec })
}

async function pod(number: number, network: string, vlan: number, address: string): Promise<AttachRequest> {
  const addresses = [{ address, prefixLength: 24 }]
  const request = container(number, { vlan, addresses, routes: await hostPath.routesFor(network) })
  await engine.attach(request)
  return request
}

const pings = (namespace: string, address: string): boolean =>
  succeeds('nsenter', `--net=/run/netns/${namespace}`, 'ping', '-q', '-c', '1', '-W', '1', address)
const nodePings = (address: string): boolean => succeeds('ping', '-q', '-c', '1', '-W', '1', address)
const connects = (namespace: string, address: string, port: number): boolean =>
  succeeds('nsenter', `--net=/run/netns/${namespace}`, 'timeout', '1', 'bash', '-c', `: < /dev/tcp/${address}/${port}`)
const links = (): { ifname: string; ifindex: number }[] =>
  JSON.parse(run('ip', '-json', 'link')) as ReturnType<typeof links>
const legs = (): string[] => links().map(({ ifname }) => ifname).filter((name) => name.startsWith('cbh')) // prettier-ignore
const indexOf = (name: string): number | undefined => links().find(({ ifname }) => ifname === name)?.ifindex

describe('the path between a node and its pods', () => {
  beforeAll(async () => {
    enterOwnNamespaces()
    makeNode()
    engine = await startEngine()
    stores = new StoreFixture(() => {})
    hostPath = startHostPath()
    await createNetwork('blue', 100, '10.31.0.0/24')
    await createNetwork('green', 200, '10.32.0.0/24')
    await createNetwork('second', 300, '10.31.0.0/24')
    ;[blue, green] = [await pod(10, 'blue', 100, '10.31.0.10'), await pod(11, 'green', 200, '10.32.0.11')]
  })
  afterAll(async () => {
    await hostPath.stop()
    await engine.stop()
    await stores[Symbol.asyncDispose]()
  })

  it('lets the node reach pods of every VLAN, also before they have sent anything', () => {
    expect(nodePings('10.31.0.10')).toBe(true)
    expect(nodePings('10.32.0.11')).toBe(true)
  })

  it('leads pods to Services in any VLAN, and the answers back as from the Service', () => {
    run('nft', 'add table ip proxy; add chain ip proxy pre { type nat hook prerouting priority dstnat; }; add rule ip proxy pre ip daddr 10.96.0.1 dnat to 10.32.0.11; add rule ip proxy pre ip daddr 10.96.0.2 dnat to 10.31.0.10') // prettier-ignore
    expect(pings('container10', '10.96.0.1')).toBe(true)
    expect(pings('container11', '10.96.0.1')).toBe(true) // itself
    expect(pings('container11', '10.96.0.2')).toBe(true)
    expect(pings('container10', '10.96.0.3')).toBe(false)
  })

  it('leads from VLAN to VLAN and to the node itself for Services only', async () => {
    runIn('container10', 'ip', 'route', 'add', '10.32.0.0/24', 'via', hostAddress)
    expect(pings('container10', '10.32.0.11')).toBe(false)
    expect(pings('container10', hostAddress)).toBe(true)
    const server = await new Promise<Server>((resolve) => {
      const made = createServer((socket) => socket.end()).listen(7070, '0.0.0.0', () => resolve(made))
    })
    expect(connects('container10', hostAddress, 7070)).toBe(false)
    server.close()
  })

  it('leaves a pod what it was: with an address that is not its own it reaches nobody', () => {
    runIn('container10', 'ip', 'address', 'add', '10.31.0.99/32', 'dev', 'eth0')
    expect(succeeds('nsenter', '--net=/run/netns/container10', 'ping', '-c', '1', '-W', '1', '-I', '10.31.0.99', hostAddress)).toBe(false) // prettier-ignore
  })

  it('is there for the older of two networks with the same addresses', async () => {
    expect(await hostPath.routesFor('second')).toEqual([])
    expect((await hostPath.routesFor('blue')).map(({ destination }) => destination)).toEqual(['169.254.64.0/18', '10.96.0.0/16']) // prettier-ignore
    expect(legs().sort()).toEqual(['cbh100', 'cbh200'])
  })

  it('is not touched when the agent starts again, and an address of the node that is gone is put back', async () => {
    await hostPath.stop()
    await engine.stop()
    const before = indexOf('cbh100')
    run('ip', 'link', 'del', 'cbh200')
    run('nft', 'delete table ip carbonado')
    expect(nodePings('10.31.0.10')).toBe(true)
    engine = await startEngine()
    hostPath = startHostPath()
    await hostPath.routesFor('green')
    expect(before).toBeGreaterThan(0)
    expect(indexOf('cbh100')).toBe(before)
    expect(nodePings('10.32.0.11')).toBe(true)
    expect(pings('container10', '10.32.0.11')).toBe(false)
  })

  it('gives a pod back the routes that somebody has removed', async () => {
    runIn('container11', 'ip', 'route', 'del', '10.96.0.0/16')
    const request = green!
    const drifts = await expect
      .poll(() =>
        engine
          .findDrift([blue!, request], new Set([request.endpointId]))
          .filter(({ reason }) => reason === 'RouteMissing'),
      ) // prettier-ignore
      .toHaveLength(1)
      .then(() => engine.findDrift([request], new Set([request.endpointId])))
    await drifts.find(({ reason }) => reason === 'RouteMissing')!.repair!()
    expect(pings('container11', '10.96.0.1')).toBe(true)
  })

  it('goes with its VLAN', async () => {
    await stores.store.delete(Network, { name: 'green' })
    await expect.poll(legs).toEqual(['cbh100'])
    await stores.store.delete(Network, { name: 'blue' })
    await expect.poll(legs).toEqual(['cbh300'])
    expect(runIn('container10', 'ip', 'route')).toMatch(/10\.96\.0\.0/)
  })
})
