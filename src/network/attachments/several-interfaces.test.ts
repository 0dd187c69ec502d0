import { describe, expect, test } from 'vitest'
import { Endpoint } from '../../api/index.ts'
import { allocateByCounting } from './fake-control.ts'
import { addRequest, eventually, TestNode } from './test-node.ts'

const eth0 = { cniNetwork: 'cluster', containerId: 'c1', interfaceName: 'eth0' }
const green = { kind: 'dynamic', networkName: 'green' } as const
const request = addRequest({
  children: [
    { interfaceName: 'eth1', wish: green },
    { interfaceName: 'eth2', wish: { kind: 'dynamic', networkName: 'red' }, metric: 20 },
  ],
})
const net1 = addRequest({ interfaceName: 'net1', cniNetwork: 'second', wish: green, isAdditional: true })

const interfaces = (node: TestNode): string[] =>
  [...node.kernel.attachments.values()].map(({ interfaceName }) => interfaceName).sort()
const routing = (node: TestNode): unknown[] =>
  [...node.kernel.attachments.values()]
    .sort((one, other) => one.interfaceName.localeCompare(other.interfaceName))
    .map(({ interfaceName, defaultRouteMetric, routingTable }) => [interfaceName, defaultRouteMetric, routingTable])

async function isEmpty(node: TestNode): Promise<boolean> {
  const endpoints = await node.endpoints()
  return node.kernel.attachments.size === 0 && node.journal.all().length === 0 && endpoints.length === 0
}

describe('ADD of several interfaces', () => {
  test('attaches all, the primary first, with a metric and a table each', async () => {
    await using node = await TestNode.create()
    const result = await node.attachments.add(request)
    expect(result.interfaceName).toBe('eth0')
    expect(result.children!.map(({ interfaceName }) => interfaceName)).toEqual(['eth1', 'eth2'])
    expect(routing(node)).toEqual([
      ['eth0', 100, 1000],
      ['eth1', 101, 1001],
      ['eth2', 20, 1002],
    ])
  })

  test('says in the objects what belongs together, and in the primary what the pod has', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    const primary = async (): Promise<Endpoint | undefined> =>
      (await node.endpoints()).find(({ spec }) => spec.holder!.interfaceName === 'eth0')
    await eventually(async () => (await primary())?.status?.attachment?.networkStatus !== undefined)
    const holders = (await node.endpoints()).map(({ spec }) => [
      spec.holder!.interfaceName,
      spec.holder!.primaryInterface,
    ])
    expect(holders.sort()).toEqual([['eth0', undefined], ['eth1', 'eth0'], ['eth2', 'eth0']]) // prettier-ignore
    const status = JSON.parse((await primary())!.status!.attachment!.networkStatus!) as Record<string, unknown>[]
    expect(status.map(({ name, interface: device, default: isDefault }) => [name, device, isDefault])).toEqual([
      ['blue', 'eth0', true],
      ['green', 'eth1', undefined],
      ['red', 'eth2', undefined],
    ])
    expect(status[1]).toMatchObject({ ips: [expect.stringMatching(/^10\.0\./)], mac: expect.stringMatching(/^02:/) })
  })

  test('repeated, also after a restart, gives the same and makes nothing new', async () => {
    await using node = await TestNode.create()
    const first = await node.attachments.add(request)
    expect(await node.attachments.add(request)).toEqual(first)
    await node.stopAgent()
    await node.startAgent()
    expect(await node.attachments.add(request)).toEqual(first)
    expect(await node.endpoints()).toHaveLength(3)
    await expect(node.attachments.add(addRequest())).rejects.toMatchObject({ code: 'Conflict' })
  })

  test('attaches none when one cannot be had, and says which and why', async () => {
    const allocate = allocateByCounting()
    await using node = await TestNode.create((endpoint) =>
      endpoint.spec.networkName === 'red'
        ? { state: 'Refused', code: 'Exhausted', message: 'no free address in red', remedy: 'Extend the range.' }
        : allocate(endpoint),
    )
    await expect(node.attachments.add(request)).rejects.toMatchObject({
      code: 'Exhausted',
      message: 'interface eth2 (endpoint2): no free address in red; so none of the 3 interfaces is attached',
      remedy: 'Extend the range.',
    })
    await eventually(() => isEmpty(node))
  })

  test('attaches none when two networks gave the same address', async () => {
    await using node = await TestNode.create(({ metadata }) => ({
      state: 'Allocated',
      addresses: [{ address: '10.0.0.9', prefixLength: 16 }],
      macAddress: `02:00:00:00:00:0${metadata.name.includes('eth0') ? 1 : metadata.name.includes('eth1') ? 2 : 3}`,
      vlan: 100,
      bandwidthFloor: 0,
    }))
    await expect(node.attachments.add(request)).rejects.toThrow('eth0 and eth1 would both have the address 10.0.0.9')
    await eventually(() => isEmpty(node))
  })

  test('attaches none when the kernel refuses one', async () => {
    await using node = await TestNode.create(undefined, {
      engine: (engine) =>
        new Proxy(engine, {
          get: (target, property) => {
            if (property !== 'attach') return (Reflect.get(target, property) as () => unknown).bind(target)
            return async (wanted: Parameters<typeof engine.attach>[0]) => {
              if (wanted.interfaceName === 'eth1') throw new Error('the kernel said no')
              return target.attach(wanted)
            }
          },
        }),
    })
    await expect(node.attachments.add(request)).rejects.toThrow('interface eth1 (endpoint1): the kernel said no')
    expect(node.kernel.attachments.size).toBe(0)
    await eventually(() => isEmpty(node))
  })
})

describe('children', () => {
  test('go with DEL of the primary, not with DEL of their own name', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    await node.attachments.remove({ ...eth0, interfaceName: 'eth1' })
    expect(interfaces(node)).toEqual(['eth0', 'eth1', 'eth2'])
    await node.attachments.remove(eth0)
    expect(interfaces(node)).toEqual([])
    await eventually(() => isEmpty(node))
  })

  test('are garbage exactly when their primary is', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    await node.attachments.collectGarbage('cluster', [{ containerId: 'c1', interfaceName: 'eth0' }])
    expect(interfaces(node)).toHaveLength(3)
    await node.attachments.collectGarbage('cluster', [])
    expect(interfaces(node)).toEqual([])
  })

  test('go when the endpoint of the primary is deleted by force; the primary stays when a child is', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    const byInterface = async (name: string): Promise<Endpoint> =>
      (await node.endpoints()).find(({ spec }) => spec.holder!.interfaceName === name)!
    const remove = async (name: string): Promise<unknown> => {
      const { metadata } = await byInterface(name)
      return node.store.delete(Endpoint, { namespace: metadata.namespace, name: metadata.name })
    }
    await remove('eth1')
    await eventually(() => interfaces(node).join() === 'eth0,eth2')
    await expect(node.attachments.add(request)).rejects.toThrow('lost a child since')
    await expect(node.attachments.check(eth0, request.netns)).rejects.toThrow('only 1 of its 2 children')
    await remove('eth0')
    await eventually(() => isEmpty(node))
  })

  test('are adopted with their primary by an agent without a journal', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    const before = routing(node)
    await node.stopAgent()
    for (const suffix of ['', '-wal', '-shm']) node.forgetJournal(suffix)
    await node.startAgent()
    await eventually(() => node.attachments.attached().length === 3)
    expect(node.journal.all().map(({ interfaceName, primaryInterface, request: each }) =>
      [interfaceName, primaryInterface, each.routingTable]).sort()).toEqual([
      ['eth0', undefined, 1000], ['eth1', 'eth0', 1001], ['eth2', 'eth0', 1002],
    ]) // prettier-ignore
    expect(routing(node)).toEqual(before)
    await node.attachments.remove(eth0)
    await eventually(() => isEmpty(node))
  })
})

describe('an ADD of another interface name', () => {
  test('attaches that one alone, and gives the first one a table', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    expect(routing(node)).toEqual([['eth0', undefined, undefined]])
    const result = await node.attachments.add(net1)
    expect(result).toMatchObject({ interfaceName: 'net1' })
    expect(result.children).toBeUndefined()
    expect(node.journal.all().find(({ interfaceName }) => interfaceName === 'eth0')!.request.routingTable).toBe(1000)
    expect(node.journal.all().find(({ interfaceName }) => interfaceName === 'net1')!.request).toMatchObject({
      routingTable: 1001,
      defaultRouteMetric: 2001,
    })
  })

  test('is removed without the others', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    await node.attachments.add(net1)
    expect(interfaces(node)).toEqual(['eth0', 'eth1', 'eth2', 'net1'])
    await node.attachments.remove({ cniNetwork: 'second', containerId: 'c1', interfaceName: 'net1' })
    expect(interfaces(node)).toEqual(['eth0', 'eth1', 'eth2'])
  })

  test('stays when the other CNI network loses its interfaces', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    await node.attachments.add(net1)
    await node.attachments.remove(eth0)
    expect(interfaces(node)).toEqual(['net1'])
  })

  test('is refused for a name that a child has', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(request)
    await expect(node.attachments.add({ ...net1, interfaceName: 'eth1' })).rejects.toMatchObject({
      code: 'Conflict',
      message: expect.stringContaining('already has an interface eth1'),
    })
    expect(interfaces(node)).toHaveLength(3)
  })
})

describe('networks of a group', () => {
  test('the one with most free addresses is chosen', async () => {
    await using node = await TestNode.create()
    await node.createNetwork('small', { group: 'g', total: 10, used: 2 })
    await node.createNetwork('large', { group: 'g', total: 20, used: 5 })
    await node.createNetwork('other', { total: 100, used: 0 })
    await node.attachments.add(addRequest({ wish: { kind: 'dynamic', networkGroup: 'g' } }))
    expect((await node.endpoints()).map(({ spec }) => spec.networkName)).toEqual(['large'])
    await expect(
      node.attachments.add(addRequest({ containerId: 'c2', wish: { kind: 'dynamic', networkGroup: 'x' } })),
    ).rejects.toMatchObject({ code: 'NotFound', message: 'no network belongs to the network group x' })
  })
})
