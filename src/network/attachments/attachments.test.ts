import { describe, expect, test } from 'vitest'
import { attachmentFinalizer, Endpoint } from '../../api/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { Unavailable } from '../../base/index.ts'
import { allocateByCounting } from './fake-control.ts'
import { addRequest, eventually, TestNode } from './test-node.ts'

const container = { cniNetwork: 'cluster', containerId: 'c1', interfaceName: 'eth0' }

/** A store that can be cut off. */
function withSwitch(store: ResourceStore): { store: ResourceStore; setAway: (isAway: boolean) => void } {
  let away = false
  const proxy = new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (away && property !== 'watch') return Promise.reject(new Unavailable('control is away'))
        return (value as (...args: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  return { store: proxy, setAway: (isAway) => (away = isAway) }
}

describe('ADD of a dynamic endpoint', () => {
  test('attaches, reports and answers with what was allocated', async () => {
    await using node = await TestNode.create()
    const result = await node.attachments.add(addRequest({ pod: { namespace: 'shop', name: 'web-0' } }))
    expect(result).toMatchObject({
      interfaceName: 'eth0',
      netns: '/run/netns/c1',
      mtu: 1496,
      addresses: [{ address: '10.0.0.2', prefixLength: 16, gateway: '10.0.0.1' }],
    })
    const [endpoint] = await node.endpoints()
    expect(endpoint!.metadata).toMatchObject({ namespace: 'shop', finalizers: [attachmentFinalizer] })
    expect(endpoint!.metadata.name).toMatch(/^web-0-eth0-[0-9a-f]{10}$/)
    expect([...node.kernel.attachments.keys()]).toEqual([endpoint!.metadata.uid])
    await eventually(
      async () => (await node.endpoints())[0]?.status?.attachment?.hostInterface === result.hostInterface,
    )
  })

  test('repeated with the same arguments gives the same and makes nothing new', async () => {
    await using node = await TestNode.create()
    const first = await node.attachments.add(addRequest())
    expect(await node.attachments.add(addRequest())).toEqual(first)
    expect(await node.endpoints()).toHaveLength(1)
  })

  test('repeated after a restart gives the same', async () => {
    await using node = await TestNode.create()
    const first = await node.attachments.add(addRequest())
    await node.stopAgent()
    await node.startAgent()
    expect(await node.attachments.add(addRequest())).toEqual(first)
  })

  test.each([
    ['another network', { wish: { kind: 'dynamic', networkName: 'green' } as const }],
    ['another namespace', { netns: '/run/netns/other' }],
    ['another pod', { pod: { namespace: 'shop', name: 'web-0' } }],
  ])('repeated with %s is a conflict', async (_what, change) => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    await expect(node.attachments.add(addRequest(change))).rejects.toMatchObject({ code: 'Conflict' })
    expect(node.kernel.attachments.size).toBe(1)
  })

  test('refused by control throws the refusal and leaves nothing', async () => {
    await using node = await TestNode.create(() => ({
      state: 'Refused',
      code: 'Exhausted',
      message: 'no free address',
    }))
    await expect(node.attachments.add(addRequest())).rejects.toMatchObject({
      code: 'Exhausted',
      message: 'no free address',
    })
    await eventually(async () => (await node.endpoints()).length === 0)
    expect(node.journal.all()).toEqual([])
  })

  test('into a namespace that has gone is CNI code 3 and makes nothing', async () => {
    await using node = await TestNode.create()
    node.goneNamespaces.add('/run/netns/c1')
    await expect(node.attachments.add(addRequest())).rejects.toMatchObject({ details: { cniCode: 3 } })
    expect(await node.endpoints()).toEqual([])
  })

  test('that the engine fails is undone', async () => {
    await using node = await TestNode.create(undefined, {
      engine: (engine) => ({
        ...bind(engine),
        attach: async (request) => {
          await engine.attach(request)
          throw new Error('the kernel said no')
        },
      }),
    })
    await expect(node.attachments.add(addRequest())).rejects.toThrow('the kernel said no')
    expect(node.kernel.attachments.size).toBe(0)
    await eventually(async () => (await node.endpoints()).length === 0 && node.journal.all().length === 0)
  })

  test('right after DEL makes a new endpoint of the same name', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    const [leftover] = await node.endpoints()
    await node.attachments.remove(container)
    const result = await node.attachments.add(addRequest())
    expect(result.addresses[0]!.address).toBe('10.0.0.3')
    expect((await node.endpoints())[0]!.metadata.uid).not.toBe(leftover!.metadata.uid)
  })
})

describe('DEL', () => {
  test('detaches at once and releases in the background', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    await node.attachments.remove(container)
    expect(node.kernel.attachments.size).toBe(0)
    await eventually(async () => (await node.endpoints()).length === 0 && node.journal.all().length === 0)
    await node.attachments.remove(container)
  })

  test('before any ADD succeeds', async () => {
    await using node = await TestNode.create()
    await node.attachments.remove(container)
  })

  test('during ADD waits for it and then takes everything away', async () => {
    await using node = await TestNode.create()
    const adding = node.attachments.add(addRequest())
    await node.attachments.remove(container)
    await adding
    expect(node.kernel.attachments.size).toBe(0)
    await eventually(async () => (await node.endpoints()).length === 0)
  })

  test('of another CNI network leaves the interface alone', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    await node.attachments.remove({ ...container, cniNetwork: 'other' })
    expect(node.kernel.attachments.size).toBe(1)
  })
})

describe('while control is away', () => {
  test('ADD fails as Unavailable, DEL succeeds and is told later', async () => {
    let setAway!: (isAway: boolean) => void
    await using node = await TestNode.create(undefined, {
      store: (store) => {
        const switched = withSwitch(store)
        setAway = switched.setAway
        return switched.store
      },
    })
    await node.attachments.add(addRequest())
    setAway(true)
    await expect(node.attachments.add(addRequest({ containerId: 'c2' }))).rejects.toMatchObject({ code: 'Unavailable' })
    await expect(node.attachments.status()).rejects.toMatchObject({ details: { cniCode: 50 } })
    await node.attachments.remove(container)
    expect(node.kernel.attachments.size).toBe(0)
    expect(await node.endpoints()).toHaveLength(1)
    expect(node.journal.all()).toMatchObject([{ state: 'detached' }])
    setAway(false)
    await eventually(async () => (await node.endpoints()).length === 0 && node.journal.all().length === 0)
    await node.attachments.status()
  })

  test('a store that hangs makes ADD fail in time', async () => {
    await using node = await TestNode.create(undefined, {
      store: (store) => ({ ...bind(store), create: () => new Promise(() => {}) }),
      patience: { answer: 100 },
    })
    await expect(node.attachments.add(addRequest())).rejects.toMatchObject({ code: 'Unavailable' })
  })
})

describe('static endpoints', () => {
  const staticRequest = addRequest({ wish: { kind: 'static', endpointName: 'ep1' } })

  test('keep address and MAC from holder to holder', async () => {
    await using node = await TestNode.create()
    await node.createStatic('ep1')
    const first = await node.attachments.add(staticRequest)
    await node.attachments.remove(container)
    const second = await node.attachments.add({ ...staticRequest, containerId: 'c2', netns: '/run/netns/c2' })
    expect(second.addresses).toEqual(first.addresses)
    expect(second.macAddress).toBe(first.macAddress)
    await node.attachments.remove({ ...container, containerId: 'c2' })
    await eventually(async () => (await node.endpoints())[0]?.spec.holder === undefined)
    const [free] = await node.endpoints()
    expect(free!.spec.nodeName).toBeUndefined()
    expect(free!.metadata.finalizers ?? []).toEqual([])
    expect(free!.status?.attachment ?? null).toBeNull()
  })

  test('go back and forth within one container', async () => {
    await using node = await TestNode.create()
    await node.createStatic('ep1')
    for (let round = 0; round < 10; round++) {
      await node.attachments.add(staticRequest)
      expect(node.kernel.attachments.size).toBe(1)
      await node.attachments.remove(container)
      expect(node.kernel.attachments.size).toBe(0)
    }
    await eventually(async () => (await node.endpoints())[0]?.spec.holder === undefined)
  })

  test('in use are refused naming the holder', async () => {
    await using node = await TestNode.create()
    await node.createStatic('ep1')
    await node.attachments.add(staticRequest)
    await expect(node.attachments.add({ ...staticRequest, containerId: 'c2' })).rejects.toMatchObject({
      code: 'Conflict',
      message: expect.stringContaining('container c1 on node n1') as string,
    })
  })

  test('asked for by two containers at once go to exactly one', async () => {
    await using node = await TestNode.create()
    await node.createStatic('ep1')
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'c', 'd'].map((containerId) => node.attachments.add({ ...staticRequest, containerId })),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(node.kernel.attachments.size).toBe(1)
  })

  test('that do not exist are NotFound; dynamic ones are refused', async () => {
    await using node = await TestNode.create()
    await expect(node.attachments.add(staticRequest)).rejects.toMatchObject({ code: 'NotFound' })
    await node.attachments.add(addRequest())
    const [dynamic] = await node.endpoints()
    const wish = { kind: 'static', endpointName: dynamic!.metadata.name } as const
    await expect(node.attachments.add(addRequest({ containerId: 'c2', wish }))).rejects.toMatchObject({
      code: 'InvalidInput',
    })
  })

  test('refused for this node are free again', async () => {
    const allocate = allocateByCounting()
    await using node = await TestNode.create((endpoint) =>
      endpoint.spec.nodeName ? { state: 'Refused', code: 'Exhausted', message: 'no bandwidth' } : allocate(endpoint),
    )
    await node.createStatic('ep1')
    await expect(node.attachments.add(staticRequest)).rejects.toMatchObject({ code: 'Exhausted' })
    await eventually(async () => (await node.endpoints())[0]?.spec.holder === undefined)
  })
})

describe('CHECK, GC and shaping', () => {
  test('CHECK finds what is missing in the kernel', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    await node.attachments.check(container, '/run/netns/c1')
    await expect(node.attachments.check(container, '/run/netns/other')).rejects.toMatchObject({
      details: { cniCode: 110 },
    })
    node.kernel.attachments.clear()
    await expect(node.attachments.check(container, '/run/netns/c1')).rejects.toMatchObject({
      details: { cniCode: 110 },
    })
    await expect(node.attachments.check({ ...container, containerId: 'x' }, '/n')).rejects.toMatchObject({
      details: { cniCode: 3 },
    })
  })

  test('GC removes what is not valid, of its own CNI network only', async () => {
    await using node = await TestNode.create()
    for (const containerId of ['a', 'b', 'c']) await node.attachments.add(addRequest({ containerId }))
    await node.attachments.add(addRequest({ containerId: 'd', cniNetwork: 'other' }))
    await node.attachments.collectGarbage('cluster', [{ containerId: 'b', interfaceName: 'eth0' }])
    const left = [...node.kernel.attachments.values()].map(({ containerId }) => containerId)
    expect(left.sort()).toEqual(['b', 'd'])
    await node.attachments.collectGarbage('cluster', [])
    expect(node.kernel.attachments.size).toBe(1)
  })

  test('a changed tier is shaped without attaching again', async () => {
    let bandwidthFloor = 100e6
    const allocate = allocateByCounting()
    await using node = await TestNode.create((endpoint) => ({ ...allocate(endpoint), bandwidthFloor }) as never)
    await node.attachments.add(addRequest())
    bandwidthFloor = 200e6
    node.control.decideAgain()
    await eventually(() => [...node.kernel.attachments.values()][0]!.bandwidthFloor === 200e6)
    expect(node.attachments.attached()[0]!.request.bandwidthFloor).toBe(200e6)
  })

  test('an endpoint that is deleted by force is detached and goes', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    const [endpoint] = await node.endpoints()
    await node.store.delete(Endpoint, { namespace: 'default', name: endpoint!.metadata.name })
    await eventually(async () => node.kernel.attachments.size === 0 && (await node.endpoints()).length === 0)
  })
})

describe('a start', () => {
  test('after a reboot leaves nothing of the boot before', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    await node.stopAgent()
    node.kernel.attachments.clear()
    await node.startAgent({ bootId: 'boot-2' })
    await eventually(async () => (await node.endpoints()).length === 0 && node.journal.all().length === 0)
  })

  test('attaches again what is missing while its namespace exists', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    await node.attachments.add(addRequest({ containerId: 'c2', netns: '/run/netns/c2' }))
    await node.stopAgent()
    node.kernel.attachments.clear()
    node.goneNamespaces.add('/run/netns/c2')
    await node.startAgent()
    await eventually(async () => node.kernel.attachments.size === 1 && (await node.endpoints()).length === 1)
    expect([...node.kernel.attachments.values()][0]!.containerId).toBe('c1')
  })

  test('without the journal adopts what a store endpoint claims and detaches the rest', async () => {
    await using node = await TestNode.create()
    const before = await node.attachments.add(addRequest())
    const [request] = [...node.kernel.attachments.values()]
    await node.stopAgent()
    const { rmSync } = await import('node:fs')
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${node.directory}/journal.db${suffix}`, { force: true })
    node.kernel.attachments.set('stranger', { ...request!, endpointId: 'stranger', containerId: 'c9' })
    await node.startAgent()
    await eventually(() => node.kernel.attachments.size === 1 && node.attachments.attached().length === 1)
    expect(node.attachments.attached()[0]).toMatchObject({ cniNetwork: 'cluster', request: { netns: '/run/netns/c1' } })
    expect(await node.attachments.add(addRequest())).toEqual(before)
    await node.attachments.remove(container)
    await eventually(async () => (await node.endpoints()).length === 0)
  })

  test('says which endpoints lost their object', async () => {
    await using node = await TestNode.create()
    await node.attachments.add(addRequest())
    const [endpoint] = await node.endpoints()
    const reference = { namespace: 'default', name: endpoint!.metadata.name }
    await node.store.patch(Endpoint, reference, { spec: { nodeName: 'n2' } })
    await eventually(() => node.attachments.lostEndpoints().length === 1)
    expect(node.kernel.attachments.size).toBe(1)
  })
})

/** The methods of an object, so that some can be replaced. */
function bind<T extends object>(target: T): T {
  return new Proxy(target, {
    get: (_, property) => {
      const value = Reflect.get(target, property) as unknown
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
    ownKeys: () => Reflect.ownKeys(Object.getPrototypeOf(target) as object),
    getOwnPropertyDescriptor: (_, property) => ({
      configurable: true,
      enumerable: property !== 'constructor',
      value: (Reflect.get(target, property) as () => unknown)?.bind?.(target),
    }),
  })
}
