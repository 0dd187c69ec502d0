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
    await eventually(async () => (await node.endpoints())[0]!.status?.attachment !== undefined)
    await node.store.patch(Endpoint, reference, { metadata: { finalizers: [] } })
    await node.store.delete(Endpoint, reference)
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

describe('a static endpoint that is held', () => {
  const request = addRequest({ wish: { kind: 'static', endpointName: 'ep1' } })
  const other = { ...request, containerId: 'c2', netns: '/run/netns/c2' }
  const patient = { patience: { release: 60_000 } }

  test('on this node is refused at once, also by its prefix', async () => {
    await using node = await TestNode.create(undefined, patient)
    for (const name of ['ep1', 'web-0']) await node.createStatic(name)
    await node.attachments.add(request)
    await expect(node.attachments.add(other)).rejects.toMatchObject({
      code: 'Conflict',
      message: 'static endpoint default/ep1 is held by container c1 on node n1',
    })
    const any = { kind: 'any-static', prefix: 'web' } as const
    await node.attachments.add({ ...other, wish: any })
    await expect(node.attachments.add(addRequest({ containerId: 'c3', wish: any }))).rejects.toThrow('web-0 is held by')
  })

  test('on a node that does not report is refused at once', async () => {
    await using node = await TestNode.create(undefined, patient)
    await node.createStatic('ep1')
    await node.createNode('n2', { isReady: false })
    await node.holdElsewhere('ep1', 'n2')
    await expect(node.attachments.add(request)).rejects.toThrow('is held by container elsewhere on node n2')
  })

  test('and leaving is waited for', async () => {
    await using node = await TestNode.create()
    await node.createStatic('ep1')
    const first = await node.attachments.add(request)
    const removal = node.attachments.remove(container)
    const second = await node.attachments.add(other)
    await removal
    expect(second.addresses).toEqual(first.addresses)
  })

  test('is let go of when the store gave it to another node meanwhile', async () => {
    await using node = await TestNode.create()
    await node.createStatic('ep1')
    await node.attachments.add(request)
    await eventually(async () => (await node.endpoints())[0]!.status?.attachment !== undefined)
    await node.createNode('n2', { isReady: true })
    await node.holdElsewhere('ep1', 'n2')
    await eventually(() => node.kernel.attachments.size === 0 && node.journal.all().length === 0)
    expect((await node.endpoints())[0]!.spec).toMatchObject({ nodeName: 'n2', holder: { containerId: 'elsewhere' } })
    expect(node.attachments.lostEndpoints()).toEqual([])
  })
})

describe('static endpoints of a prefix', () => {
  const any = (containerId: string) =>
    addRequest({ containerId, netns: `/run/netns/${containerId}`, wish: { kind: 'any-static', prefix: 'web' } })

  test('go to containers that ask side by side, each to one; others of a similar name to none', async () => {
    await using node = await TestNode.create(undefined, { patience: { release: 50 } })
    for (const name of ['web-0', 'web-1', 'web-10', 'web-x', 'web', 'webs-0', 'web-01']) await node.createStatic(name)
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, (_, index) => node.attachments.add(any(`c${index}`)))) // prettier-ignore
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
    expect(node.journal.all().map(({ name }) => name).sort()).toEqual(['web-0', 'web-1', 'web-10']) // prettier-ignore
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'Conflict' }) // prettier-ignore
  })

  test('that do not exist are asked for by name', async () => {
    await using node = await TestNode.create()
    await node.createStatic('web-0', 'other')
    await expect(node.attachments.add(any('c1'))).rejects.toMatchObject({
      code: 'NotFound',
      message: 'there is no static endpoint web-0, web-1, ... in namespace default',
    })
  })
})
