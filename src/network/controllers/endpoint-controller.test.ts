import { describe, expect, it } from 'vitest'
import { AddressClaim, Endpoint, Event, MacClaim, Network, Node, PerfTier, type Allocation } from '../../api/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import {
  bind,
  ControlFixture,
  createEndpoint,
  createNetwork,
  createNode,
  createStatic,
  createTier,
  eventually,
  remove,
  unbind,
} from './control-fixture.ts'

async function started(): Promise<ControlFixture> {
  const fixture = await ControlFixture.start()
  await createNode(fixture.store, 'n1')
  await createNode(fixture.store, 'n2')
  return fixture
}

describe('allocation', () => {
  it('gives an endpoint everything that an engine needs', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '500M', '800M')
    await createNetwork(control.store, 'blue', { perfTierName: 'gold', mtu: 1400 })
    await createEndpoint(control.store, 'a')
    const allocation = await control.allocated('a')
    expect(allocation).toMatchObject({
      generation: 1,
      addresses: [{ address: '10.30.0.10', prefixLength: 24, gateway: '10.30.0.1' }],
      vlan: 100,
      mtu: 1400,
      perfTierName: 'gold',
      bandwidthFloor: 500_000_000,
      bandwidthCap: 800_000_000,
    })
    expect(allocation.macAddress).toMatch(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/)
    const mac = allocation.macAddress.replaceAll(':', '')
    expect((await control.store.get(AddressClaim, { name: 'pods-100.0a1e000a' })).spec.endpoint.name).toBe('a')
    expect((await control.store.get(MacClaim, { name: `pods-100.${mac}` })).spec.endpoint.name).toBe('a')
  })

  it('gives one address of each family, and the addresses and MAC that are asked for', async () => {
    await using control = await started()
    const subnets = [
      { cidr: '10.30.0.0/24', ranges: [], gateway: '10.30.0.1' },
      { cidr: 'fd00:30::/64', ranges: [], gateway: 'fd00:30::1' },
    ]
    await createNetwork(control.store, 'blue', { subnets })
    await createStatic(control.store, 'a', {
      addresses: ['FD00:30:0::99', '10.30.0.7'],
      macAddress: '02:00:00:00:00:07',
    })
    const allocation = await control.allocated('a')
    expect(allocation.addresses.map(({ address }) => address)).toEqual(['10.30.0.7', 'fd00:30::99'])
    expect(allocation.macAddress).toBe('02:00:00:00:00:07')
    await createEndpoint(control.store, 'b')
    expect((await control.allocated('b')).addresses.map(({ address }) => address)).toEqual(['10.30.0.2', 'fd00:30::2'])
  })

  it('gives a just-released address last', async () => {
    await using control = await started()
    const ranges = [{ start: '10.30.0.10', end: '10.30.0.12' }]
    await createNetwork(control.store, 'blue', { subnets: [{ cidr: '10.30.0.0/24', ranges }] })
    const addressOf = async (name: string): Promise<string> => {
      await createEndpoint(control.store, name)
      return (await control.allocated(name)).addresses[0]!.address
    }
    expect(await addressOf('a')).toBe('10.30.0.10')
    await remove(control.store, 'a')
    await eventually(() => (control.store.count(AddressClaim) === 0 ? true : undefined))
    expect(await addressOf('b')).toBe('10.30.0.11')
    expect(await addressOf('c')).toBe('10.30.0.12')
    expect(await addressOf('d')).toBe('10.30.0.10')
  })

  it('lets exactly one of 20 concurrent endpoints have the last free address, and tells the others why', async () => {
    await using control = await started()
    const ranges = [{ start: '10.30.0.10', end: '10.30.0.11' }]
    await createNetwork(control.store, 'blue', { subnets: [{ cidr: '10.30.0.0/24', ranges }] })
    await createEndpoint(control.store, 'first')
    await control.allocated('first')
    const names = Array.from({ length: 20 }, (_, index) => `e${index}`)
    await Promise.all(names.map((name) => createEndpoint(control.store, name)))
    const decisions = await Promise.all(names.map((name) => control.decided(name)))
    expect(decisions.filter(({ state }) => state === 'Allocated')).toHaveLength(1)
    const refused = decisions.find(({ state }) => state === 'Refused')
    expect(refused).toMatchObject({
      code: 'Exhausted',
      message: 'network blue has no free IPv4 address: all 2 of 10.30.0.10-10.30.0.11 are used',
      remedy: expect.stringContaining('dctl network update blue --end'),
    })
    const events = await eventually(async () => {
      const { items } = await control.store.list(Event, { fieldSelector: 'reason=AddressesExhausted' })
      return items[0]?.series?.count === 19 ? items : undefined
    })
    expect(events[0]!.regarding).toMatchObject({ kind: 'Network', name: 'blue' })
    expect(control.store.count(AddressClaim)).toBe(2)
  })

  it('hands out more after the range was extended, but a refused endpoint stays refused', async () => {
    await using control = await started()
    const subnets = (end: string): Network['spec']['subnets'] => [
      { cidr: '10.30.0.0/24', ranges: [{ start: '10.30.0.10', end }] },
    ]
    await createNetwork(control.store, 'blue', { subnets: subnets('10.30.0.10') })
    await createEndpoint(control.store, 'a')
    await control.allocated('a')
    await createEndpoint(control.store, 'b')
    await control.refused('b')
    await control.store.patch(Network, { name: 'blue' }, { spec: { subnets: subnets('10.30.0.11') } })
    await createEndpoint(control.store, 'c')
    expect((await control.allocated('c')).addresses[0]!.address).toBe('10.30.0.11')
    expect((await control.decided('b')).state).toBe('Refused')
  })

  it('refuses an address that was taken between the request and the decision', async () => {
    await using control = await started()
    await createNetwork(control.store)
    const addresses = ['10.30.0.50']
    await Promise.all(['a', 'b'].map((name) => createStatic(control.store, name, { addresses })))
    const states = await Promise.all(['a', 'b'].map((name) => control.decided(name)))
    expect(states.map(({ state }) => state).sort()).toEqual(['Allocated', 'Refused'])
    expect(states.find(({ state }) => state === 'Refused')).toMatchObject({
      code: 'Conflict',
      message: expect.stringMatching(/address 10.30.0.50 is taken in L2 domain pods-100 by endpoint default\/[ab]/),
    })
  })

  it('never gives two endpoints one address or MAC through two networks on one VLAN', async () => {
    await using control = await started()
    const subnets = (start: string, end: string): Network['spec']['subnets'] => [
      { cidr: '10.30.0.0/24', ranges: [{ start, end }] },
    ]
    await createNetwork(control.store, 'blue', { subnets: subnets('10.30.0.10', '10.30.0.20') })
    await createNetwork(control.store, 'sky', { subnets: subnets('10.30.0.30', '10.30.0.40') })
    const macAddress = '02:00:00:00:00:07'
    await createStatic(control.store, 'a', { macAddress })
    await control.allocated('a')
    await expect(createStatic(control.store, 'b', { networkName: 'sky', macAddress })).rejects.toMatchObject({
      code: 'Conflict',
      message: expect.stringContaining('default/a'),
    })
  })
})

describe('capacity', () => {
  it('refuses a floor that does not fit, with the numbers', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '600M')
    await createNetwork(control.store)
    await createEndpoint(control.store, 'a', { perfTierName: 'gold' })
    await control.allocated('a')
    await createEndpoint(control.store, 'b', { perfTierName: 'gold' })
    expect(await control.refused('b')).toMatchObject({
      code: 'Exhausted',
      message: expect.stringContaining('default/b needs 600 Mbit/s, node n1 has 340 Mbit/s of 940 Mbit/s left'),
    })
    expect(control.store.count(AddressClaim)).toBe(1)
    await createEndpoint(control.store, 'c', { perfTierName: 'gold', nodeName: 'n2' })
    await control.allocated('c')
    await eventually(async () => {
      const { status } = await control.store.get(Node, { name: 'n1' })
      return status?.capacity?.bandwidth.promised === 600e6 && status.capacity.interfaces.promised === 1
        ? true
        : undefined
    })
    await remove(control.store, 'a')
    await eventually(async () => {
      const { status } = await control.store.get(Node, { name: 'n1' })
      return status?.capacity?.bandwidth.promised === 0 ? true : undefined
    })
  })

  it('does not overcommit a node when many ask at once, and knows what is promised after a restart', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '100M')
    await createNetwork(control.store)
    const ask = async (prefix: string): Promise<number> => {
      const names = Array.from({ length: 30 }, (_, index) => `${prefix}${index}`)
      await Promise.all(names.map((name) => createEndpoint(control.store, name, { perfTierName: 'gold' })))
      const decisions = await Promise.all(names.map((name) => control.decided(name)))
      return decisions.filter(({ state }) => state === 'Allocated').length
    }
    expect(await ask('before')).toBe(9)
    await control.restart()
    expect(await ask('after')).toBe(0)
  })

  it('refuses interfaces beyond those of the node', async () => {
    await using control = await started()
    await createNode(control.store, 'small', { maximumInterfaces: 1 })
    await createNetwork(control.store)
    await createEndpoint(control.store, 'a', { nodeName: 'small' })
    await control.allocated('a')
    await createEndpoint(control.store, 'b', { nodeName: 'small' })
    expect((await control.refused('b')).message).toContain(
      'needs 1 interface, node small has 0 interfaces of 1 interface',
    )
  })

  it('promises no floor while the link rate is unknown', async () => {
    await using control = await started()
    await createNode(control.store, 'n3', { uplinks: { pods: { interface: 'eth0' } } })
    await createNetwork(control.store)
    await createTier(control.store, 'gold', '1M')
    await createEndpoint(control.store, 'a', { nodeName: 'n3', perfTierName: 'gold' })
    expect(await control.refused('a')).toMatchObject({ code: 'Unavailable' })
    await createEndpoint(control.store, 'b', { nodeName: 'n3' })
    await control.allocated('b')
  })

  it('re-shapes endpoints when their tier changes, and refuses a change that does not fit', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '300M', '600M')
    await createNetwork(control.store)
    for (const name of ['a', 'b']) await createEndpoint(control.store, name, { perfTierName: 'gold' })
    const before = await control.allocated('a')
    await control.allocated('b')
    const tooMuch = control.store.patch(PerfTier, { name: 'gold' }, { spec: { networkBandwidth: '500M' } })
    await expect(tooMuch).rejects.toMatchObject({ code: 'Exhausted', message: expect.stringContaining('node n1') })
    await control.store.patch(
      PerfTier,
      { name: 'gold' },
      { spec: { networkBandwidth: '400M', maxNetworkBandwidth: null } },
    )
    const after = await eventually(async () => {
      const decision = await control.allocated('a')
      return decision.bandwidthFloor === 400e6 ? decision : undefined
    })
    const { bandwidthCap: _, ...rest } = before
    expect(after).toEqual({ ...rest, bandwidthFloor: 400e6 })
  })

  it('keeps the rates of an attached endpoint whose new tier does not fit, and says so', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '900M')
    await createTier(control.store, 'silver', '100M')
    await createNetwork(control.store)
    for (const name of ['a', 'b']) await createEndpoint(control.store, name, { perfTierName: 'silver' })
    const before = await control.allocated('a')
    await control.allocated('b')
    await control.store.patch(Endpoint, { namespace: 'default', name: 'a' }, { spec: { perfTierName: 'gold' } })
    expect(await control.allocated('a')).toEqual({ ...before, generation: 2 })
    await eventually(async () => {
      const { items } = await control.store.list(Event, { fieldSelector: 'reason=ReshapeRefused' })
      return items[0]
    })
  })
})

describe('a static endpoint', () => {
  it('keeps address and MAC from node to node, and its promise follows', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '600M')
    await createNetwork(control.store)
    await createStatic(control.store, 's', { perfTierName: 'gold' })
    const { addresses, macAddress } = await control.allocated('s')
    for (const nodeName of ['n1', 'n2', 'n1']) {
      await bind(control.store, 's', nodeName, `on-${nodeName}`)
      expect(await control.allocated('s')).toMatchObject({ addresses, macAddress, bandwidthFloor: 600e6 })
      await eventually(async () => {
        const { status } = await control.store.get(Node, { name: nodeName })
        return status?.capacity?.bandwidth.promised === 600e6 ? true : undefined
      })
      await unbind(control.store, 's')
      expect(await control.allocated('s')).toMatchObject({ addresses, macAddress })
    }
  })

  it('is refused by a node that is full, and keeps its address', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '600M')
    await createNetwork(control.store)
    await createStatic(control.store, 's', { perfTierName: 'gold' })
    const { addresses } = await control.allocated('s')
    await createEndpoint(control.store, 'a', { perfTierName: 'gold' })
    await control.allocated('a')
    await bind(control.store, 's', 'n1', 'c1')
    expect((await control.refused('s')).code).toBe('Exhausted')
    await unbind(control.store, 's')
    expect(await control.allocated('s')).toMatchObject({ addresses })
    await bind(control.store, 's', 'n2', 'c2')
    expect(await control.allocated('s')).toMatchObject({ addresses })
  })

  it('has one holder at a time', async () => {
    await using control = await started()
    await createNetwork(control.store)
    await createStatic(control.store, 's')
    const binds = await Promise.allSettled(['c1', 'c2', 'c3'].map((id) => bind(control.store, 's', 'n1', id)))
    expect(binds.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(binds.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: {
        code: 'Conflict',
        message: expect.stringContaining('is held by container c1, interface eth0, on node n1'),
      },
    })
  })
})

describe('the endpoint of a pod', () => {
  it('keeps its decision and its promise whichever sandbox holds it, and follows its tier', async () => {
    await using control = await started()
    const { store } = control
    await createTier(store, 'gold', '600M')
    await createNetwork(store, 'blue', { perfTierName: 'gold' })
    await createPrepared(store, 'of-a-pod', 'n1')
    const prepared = await control.allocated('of-a-pod')
    await bind(store, 'of-a-pod', 'n1', 'sandbox-1')
    await control.restart()
    await createEndpoint(store, 'other')
    expect(await control.refused('other')).toMatchObject({ code: 'Exhausted' })
    expect(await allocationNow(store)).toEqual(prepared)
    await store.patch(PerfTier, { name: 'gold' }, { spec: { networkBandwidth: '300M' } })
    await eventually(async () => (await allocationNow(store))?.bandwidthFloor === 300_000_000 || undefined)
  })

  it('that was refused is decided about again for a sandbox', async () => {
    await using control = await started()
    const { store } = control
    await createTier(store, 'gold', '600M')
    await createNetwork(store, 'blue', { perfTierName: 'gold' })
    await createEndpoint(store, 'other')
    await control.allocated('other')
    await createPrepared(store, 'of-a-pod', 'n1')
    await control.refused('of-a-pod')
    await remove(store, 'other')
    await bind(store, 'of-a-pod', 'n1', 'sandbox-1')
    await control.allocated('of-a-pod')
  })
})

/** What control makes for a pod that gets a node. */
async function createPrepared(store: ResourceStore, name: string, nodeName: string): Promise<void> {
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Pod', name: 'web', uid: 'uid-of-web' }]
  const metadata = { name, namespace: 'default', ownerReferences }
  await store.create(Endpoint, { metadata, spec: { networkName: 'blue', nodeName, isStatic: false } })
}

async function allocationNow(store: ResourceStore): Promise<Allocation | undefined> {
  const { status } = await store.get(Endpoint, { namespace: 'default', name: 'of-a-pod' })
  return status?.allocation?.state === 'Allocated' ? status.allocation : undefined
}

describe('deletion', () => {
  it('gives addresses back only when the finalizer is gone', async () => {
    await using control = await started()
    await createNetwork(control.store)
    await createEndpoint(control.store, 'a')
    await control.allocated('a')
    await control.store.delete(Endpoint, { namespace: 'default', name: 'a' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([control.store.count(AddressClaim), control.store.count(MacClaim)]).toEqual([1, 1])
    await control.store.patch(Endpoint, { namespace: 'default', name: 'a' }, { metadata: { finalizers: null } })
    await eventually(() => (control.store.count(AddressClaim) + control.store.count(MacClaim) === 0 ? true : undefined))
  })

  it('gives back what was deleted while control was down', async () => {
    await using control = await started()
    await createNetwork(control.store)
    await createEndpoint(control.store, 'a')
    await createEndpoint(control.store, 'b')
    const { macAddress } = await control.allocated('b')
    await control.allocated('a')
    await control.controllers.stop()
    await remove(control.store, 'a')
    await control.restart()
    await eventually(() => (control.store.count(AddressClaim) === 1 ? true : undefined))
    expect((await control.allocated('b')).macAddress).toBe(macAddress)
  })

  it('keeps a network and a tier until the last endpoint that was going is gone', async () => {
    await using control = await started()
    await createTier(control.store, 'gold', '1M')
    await createNetwork(control.store)
    await createEndpoint(control.store, 'a', { perfTierName: 'gold' })
    await control.allocated('a')
    await eventually(async () => (await control.store.get(Network, { name: 'blue' })).metadata.finalizers)
    await eventually(async () => (await control.store.get(PerfTier, { name: 'gold' })).metadata.finalizers)
    await expect(control.store.delete(Network, { name: 'blue' })).rejects.toThrow(
      'network blue is in use by 1 endpoint: default/a',
    )
    await expect(control.store.delete(PerfTier, { name: 'gold' })).rejects.toThrow(
      'perf-tier gold is in use by 1 endpoint: default/a',
    )
    await control.store.delete(Endpoint, { namespace: 'default', name: 'a' })
    await control.store.delete(Network, { name: 'blue' })
    await control.store.delete(PerfTier, { name: 'gold' })
    await expect(createEndpoint(control.store, 'b')).rejects.toThrow('network blue is being deleted')
    expect([control.store.count(Network), control.store.count(PerfTier)]).toEqual([1, 4])
    await control.store.patch(Endpoint, { namespace: 'default', name: 'a' }, { metadata: { finalizers: null } })
    await eventually(() =>
      control.store.count(Network) === 0 && control.store.count(PerfTier) === 3 ? true : undefined,
    )
  })
})

describe('counts and defaults', () => {
  it('writes how many addresses of a network are used', async () => {
    await using control = await started()
    await createNetwork(control.store)
    await createEndpoint(control.store, 'a')
    const usage = await eventually(async () => {
      const { status } = await control.store.get(Network, { name: 'blue' })
      return status?.usage?.used === 1 ? status.usage : undefined
    })
    expect(usage).toEqual({ total: 191, used: 1 })
  })

  it('makes the default tiers once, and not again when somebody deleted one', async () => {
    await using control = await ControlFixture.start()
    const names = async (): Promise<string[]> =>
      (await control.store.list(PerfTier)).items.map(({ metadata }) => metadata.name)
    expect(await names()).toEqual(['best-effort', 'high', 'medium'])
    await control.store.delete(PerfTier, { name: 'high' })
    await eventually(() => (control.store.count(PerfTier) === 2 ? true : undefined))
    await control.restart()
    expect(await names()).toEqual(['best-effort', 'medium'])
  })
})
