import { describe, expect, it } from 'vitest'
import { AddressClaim, attachmentFinalizer, Endpoint, MacClaim, Network, Node, PerfTier } from '../../api/index.ts'
import type { EmbeddedStore } from '../../store/index.ts'
import {
  bind,
  createEndpoint,
  createNetwork,
  createNode,
  createStatic,
  createTier,
  StoreFixture,
  unbind,
} from '../controllers/control-fixture.ts'

type Subnet = Network['spec']['subnets'][number]
const subnet = (cidr: string, start?: string, end?: string, gateway?: string): Subnet => ({
  cidr,
  ranges: start === undefined ? [] : [{ start, end: end! }],
  ...(gateway === undefined ? {} : { gateway }),
})

async function refusal(store: EmbeddedStore, act: (store: EmbeddedStore) => Promise<unknown>): Promise<string> {
  const error = await act(store).then(
    () => undefined,
    (thrown: { code: string; message: string; remedy?: string }) => thrown,
  )
  if (!error) throw new Error('it was admitted')
  expect(error.remedy).toBeTruthy()
  return `${error.code}: ${error.message}`
}

describe('a network is refused', () => {
  it.each<[string, Subnet[], string]>([
    ['malformed subnet', [subnet('10.30.0.0')], 'InvalidInput: subnet "10.30.0.0" is not of the form'],
    ['host bits', [subnet('10.30.0.9/24')], 'host bits set; the subnet of that address is 10.30.0.0/24'],
    ['loopback', [subnet('127.0.0.0/24')], 'overlaps 127.0.0.0/8 (loopback addresses)'],
    ['everything', [subnet('0.0.0.0/0')], 'overlaps 0.0.0.0/8'],
    ['multicast', [subnet('ff02::/64')], 'overlaps ff00::/8 (multicast addresses)'],
    ['start outside', [subnet('10.30.0.0/24', '10.31.0.1', '10.31.0.2')], 'is not inside the subnet 10.30.0.0/24'],
    ['other family', [subnet('10.30.0.0/24', 'fd00::1', 'fd00::2')], 'is not inside the subnet 10.30.0.0/24'],
    [
      'backwards',
      [subnet('10.30.0.0/24', '10.30.0.9', '10.30.0.8')],
      'range 10.30.0.9-10.30.0.8 ends before it starts',
    ],
    ['text', [subnet('10.30.0.0/24', 'first', '10.30.0.8')], 'start of the range "first" is not an IP address'],
    ['gateway outside', [subnet('10.30.0.0/24', undefined, undefined, '10.31.0.1')], 'gateway 10.31.0.1 is not inside'],
    [
      'broadcast gateway',
      [subnet('10.30.0.0/24', undefined, undefined, '10.30.0.255')],
      'network or broadcast address',
    ],
    [
      'link-local gateway of the other family',
      [subnet('10.30.0.0/24', undefined, undefined, 'fe80::1')],
      'gateway fe80::1 is not inside the subnet 10.30.0.0/24',
    ],
    [
      'link-local gateway with a zone index',
      [subnet('fd00:30::/64', undefined, undefined, 'fe80::1%eth0')],
      'gateway "fe80::1%eth0" is not an IP address',
    ],
    [
      'gateway just outside of what is link-local',
      [subnet('fd00:30::/64', undefined, undefined, 'fec0::1')],
      'gateway fec0::1 is not inside the subnet fd00:30::/64',
    ],
    ['nothing left', [subnet('10.30.0.0/24', '10.30.0.1', '10.30.0.1', '10.30.0.1')], 'has no address to hand out'],
    ['same family twice', [subnet('10.30.0.0/24'), subnet('10.31.0.0/24')], 'has two IPv4 subnets'],
  ])('for %s', async (_, subnets, why) => {
    await using fixture = new StoreFixture()
    expect(await refusal(fixture.store, (store) => createNetwork(store, 'blue', { subnets }))).toContain(why)
  })

  it('for ranges of its own that overlap', async () => {
    await using fixture = new StoreFixture()
    const ranges = [
      { start: '10.30.0.20', end: '10.30.0.30' },
      { start: '10.30.0.10', end: '10.30.0.20' },
    ]
    const why = await refusal(fixture.store, (store) =>
      createNetwork(store, 'blue', { subnets: [{ cidr: '10.30.0.0/24', ranges }] }),
    )
    expect(why).toContain('ranges 10.30.0.10-10.30.0.20 and 10.30.0.20-10.30.0.30 overlap')
  })

  it.each<[string, Subnet, string]>([
    [
      'addresses in common',
      subnet('10.30.0.0/24', '10.30.0.200', '10.30.0.220'),
      '10.30.0.200 is also handed out by network blue',
    ],
    ['no ranges', subnet('10.30.0.0/24'), '10.30.0.10-10.30.0.200 is also handed out by network blue'],
    [
      'another subnet across',
      subnet('10.30.0.0/16', '10.30.9.1', '10.30.9.9'),
      'overlaps 10.30.0.0/24 of network blue',
    ],
    ['a gateway in its range', subnet('10.30.0.0/24', '10.30.0.1', '10.30.0.5'), 'gateway 10.30.0.1 lies in a range'],
    [
      'a gateway in the other range',
      subnet('10.30.0.0/24', '10.30.0.201', '10.30.0.220', '10.30.0.50'),
      'gateway 10.30.0.50 lies in a range',
    ],
  ])('in the same L2 domain for %s', async (_, other, why) => {
    await using fixture = new StoreFixture()
    await createNetwork(fixture.store)
    expect(await refusal(fixture.store, (store) => createNetwork(store, 'sky', { subnets: [other] }))).toContain(why)
    await createNetwork(fixture.store, 'green', { subnets: [other], vlan: 200 })
    await createNetwork(fixture.store, 'grey', { subnets: [other], plane: 'storage' })
  })

  it('for VLAN 0, 4095 and text, before admission', async () => {
    await using fixture = new StoreFixture()
    for (const vlan of [0, 4095, 'ten' as never]) {
      expect(await refusal(fixture.store, (store) => createNetwork(store, 'blue', { vlan }))).toContain('spec.vlan')
    }
  })

  it('for a tier that does not exist, and a second default', async () => {
    await using fixture = new StoreFixture()
    expect(await refusal(fixture.store, (store) => createNetwork(store, 'blue', { perfTierName: 'gold' }))).toBe(
      'NotFound: perf-tier gold does not exist',
    )
    await createNetwork(fixture.store, 'blue', { isDefault: true })
    const second = (store: EmbeddedStore): Promise<unknown> =>
      createNetwork(store, 'green', { vlan: 200, isDefault: true })
    expect(await refusal(fixture.store, second)).toBe('Conflict: network green cannot be the default: blue is')
  })
})

describe('a network in use', () => {
  const change = (spec: object) => (store: EmbeddedStore) => store.patch(Network, { name: 'blue' }, { spec })

  it('keeps its subnet and VLAN', async () => {
    await using fixture = new StoreFixture()
    await createNetwork(fixture.store)
    await change({ vlan: 101 })(fixture.store)
    await createStatic(fixture.store, 'a')
    expect(await refusal(fixture.store, change({ vlan: 102 }))).toBe(
      'Conflict: network blue: vlan cannot change from 101 on pods to 102 on pods while 1 endpoint uses it',
    )
    expect(await refusal(fixture.store, change({ vlan: null }))).toContain('to untagged on pods')
    expect(await refusal(fixture.store, change({ plane: 'storage' }))).toContain('101 on storage')
    expect(await refusal(fixture.store, change({ subnets: [subnet('10.31.0.0/24')] }))).toContain(
      'subnet cannot change from 10.30.0.0/24 to 10.31.0.0/24',
    )
  })

  it('changes its ranges only so that no used address falls out', async () => {
    await using fixture = new StoreFixture()
    await createNetwork(fixture.store)
    const { metadata } = await createStatic(fixture.store, 'a')
    await fixture.store.create(AddressClaim, {
      metadata: { name: 'pods-100.0a1e0032' },
      spec: {
        l2Domain: 'pods-100',
        address: '10.30.0.50',
        networkName: 'blue',
        endpoint: { namespace: 'default', name: 'a', uid: metadata.uid! },
      },
    })
    const shrunk = change({ subnets: [subnet('10.30.0.0/24', '10.30.0.10', '10.30.0.49')] })
    expect(await refusal(fixture.store, shrunk)).toBe(
      'Conflict: network blue: 10.30.0.50 is used by endpoint default/a and would no longer be handed out',
    )
    const asGateway = change({ subnets: [subnet('10.30.0.0/24', '10.30.0.10', '10.30.0.60', '10.30.0.50')] })
    expect(await refusal(fixture.store, asGateway)).toContain('10.30.0.50 is used by endpoint default/a')
    await change({ subnets: [subnet('10.30.0.0/24', '10.30.0.40', '10.30.0.220')] })(fixture.store)
  })

  it('is not deleted, and up to five users are named', async () => {
    await using fixture = new StoreFixture()
    await createNetwork(fixture.store)
    for (let index = 1; index <= 7; index += 1) await createStatic(fixture.store, `s${index}`)
    expect(await refusal(fixture.store, (store) => store.delete(Network, { name: 'blue' }))).toBe(
      'Conflict: network blue is in use by 7 endpoints: default/s1, default/s2, default/s3, default/s4, default/s5 and 2 more',
    )
  })
})

describe('a tier', () => {
  it('is refused with a cap below its floor, a negative or an unknown quantity', async () => {
    await using fixture = new StoreFixture()
    const tier = (spec: PerfTier['spec']) => (store: EmbeddedStore) =>
      store.create(PerfTier, { metadata: { name: 'gold' }, spec })
    expect(await refusal(fixture.store, tier({ networkBandwidth: '2G', maxNetworkBandwidth: '500M' }))).toBe(
      'InvalidInput: perf-tier gold: maxNetworkBandwidth 500M is below networkBandwidth 2G',
    )
    expect(await refusal(fixture.store, tier({ storageIops: '2k', maxStorageIops: 1999 }))).toContain(
      'maxStorageIops 1999',
    )
    expect(await refusal(fixture.store, tier({ networkBandwidth: -1 }))).toContain('spec.networkBandwidth')
    expect(await refusal(fixture.store, tier({ networkBandwidth: '1X' }))).toContain('spec.networkBandwidth')
    await tier({ networkBandwidth: '2G', maxNetworkBandwidth: 0 })(fixture.store)
  })

  it('is not deleted while a network or an endpoint has it', async () => {
    await using fixture = new StoreFixture()
    await createTier(fixture.store, 'gold', '1G')
    await createNetwork(fixture.store, 'blue', { perfTierName: 'gold' })
    const remove = (store: EmbeddedStore): Promise<unknown> => store.delete(PerfTier, { name: 'gold' })
    expect(await refusal(fixture.store, remove)).toBe('Conflict: perf-tier gold is in use by 1 network: blue')
    await fixture.store.patch(Network, { name: 'blue' }, { spec: { perfTierName: null } })
    await createStatic(fixture.store, 'a', { perfTierName: 'gold' })
    expect(await refusal(fixture.store, remove)).toBe('Conflict: perf-tier gold is in use by 1 endpoint: default/a')
    await fixture.store.delete(Endpoint, { namespace: 'default', name: 'a' })
    await remove(fixture.store)
  })
})

describe('an endpoint is refused', () => {
  it.each<[string, Partial<Endpoint['spec']>, string]>([
    ['an unknown network', { networkName: 'red' }, 'NotFound: network red does not exist'],
    ['an unknown tier', { perfTierName: 'lead' }, 'NotFound: perf-tier lead does not exist'],
    ['an unknown node', { nodeName: 'n9', isStatic: false }, 'NotFound: node n9 does not exist'],
    ['no node', { isStatic: false }, 'InvalidInput: endpoint default/a is not static and names no node'],
    ['an address outside the subnet', { addresses: ['10.31.0.1'] }, '10.31.0.1 is outside the subnet 10.30.0.0/24'],
    [
      'an address outside the ranges',
      { addresses: ['10.30.0.201'] },
      '10.30.0.201 is outside the ranges of network blue (10.30.0.10-10.30.0.200)',
    ],
    ['the network address', { addresses: ['10.30.0.0'] }, '10.30.0.0 is the network or broadcast address'],
    ['the broadcast address', { addresses: ['10.30.0.255'] }, '10.30.0.255 is the network or broadcast address'],
    ['the gateway', { addresses: ['10.30.0.1'] }, '10.30.0.1 is the gateway'],
    ['a family that is not there', { addresses: ['fd00::1'] }, 'network blue has no IPv6 subnet'],
    ['two of a family', { addresses: ['10.30.0.20', '10.30.0.21'] }, 'two IPv4 addresses are asked for'],
    ['text', { addresses: ['ten'] }, 'address "ten" is not an IP address'],
    ['a multicast MAC', { macAddress: '01:00:00:00:00:01' }, 'MAC 01:00:00:00:00:01 is multicast'],
    ['a zero MAC', { macAddress: '00:00:00:00:00:00' }, 'is no address'],
    [
      'a holder without a node',
      { holder: { containerId: 'c', interfaceName: 'eth0' } },
      'has a holder (c) but names no node',
    ],
    [
      'a holder without the finalizer',
      { nodeName: 'n1', holder: { containerId: 'c', interfaceName: 'eth0' } },
      `without the finalizer ${attachmentFinalizer}`,
    ],
  ])('for %s', async (_, spec, why) => {
    await using fixture = new StoreFixture()
    await createNode(fixture.store)
    await createNetwork(fixture.store)
    expect(await refusal(fixture.store, (store) => createStatic(store, 'a', spec))).toContain(why)
  })

  it('for an address or MAC that is taken, naming who has it', async () => {
    await using fixture = new StoreFixture()
    const { store } = fixture
    await createNetwork(store)
    const { metadata } = await createStatic(store, 'a')
    const endpoint = { namespace: 'default', name: 'a', uid: metadata.uid! }
    await store.create(AddressClaim, {
      metadata: { name: 'pods-100.0a1e0014' },
      spec: { l2Domain: 'pods-100', address: '10.30.0.20', networkName: 'blue', endpoint },
    })
    await store.create(MacClaim, {
      metadata: { name: 'pods-100.020000000001' },
      spec: { l2Domain: 'pods-100', macAddress: '02:00:00:00:00:01', endpoint },
    })
    expect(await refusal(store, () => createStatic(store, 'b', { addresses: ['10.30.0.20'] }))).toBe(
      'Conflict: address 10.30.0.20 is taken in L2 domain pods-100 by endpoint default/a',
    )
    expect(await refusal(store, () => createStatic(store, 'b', { macAddress: '02:00:00:00:00:01' }))).toBe(
      'Conflict: MAC 02:00:00:00:00:01 is taken in L2 domain pods-100 by endpoint default/a',
    )
  })
})

describe('a change of an endpoint', () => {
  async function prepared(): Promise<StoreFixture> {
    const fixture = new StoreFixture()
    for (const name of ['n1', 'n2']) await createNode(fixture.store, name)
    await createNetwork(fixture.store)
    await createNetwork(fixture.store, 'green', { vlan: 200 })
    await createStatic(fixture.store, 's', { addresses: ['10.30.0.20'] })
    await createEndpoint(fixture.store, 'd')
    return fixture
  }
  const change = (name: string, spec: object) => (store: EmbeddedStore) =>
    store.patch(Endpoint, { namespace: 'default', name }, { spec })

  it('keeps its identity', async () => {
    await using fixture = await prepared()
    const { store } = fixture
    expect(await refusal(store, change('s', { networkName: 'green' }))).toBe(
      'InvalidInput: endpoint default/s: spec.networkName cannot change from "blue" to "green"',
    )
    expect(await refusal(store, change('s', { addresses: null }))).toContain('spec.addresses cannot change')
    expect(await refusal(store, change('s', { macAddress: '02:00:00:00:00:01' }))).toContain('from nothing to')
    expect(await refusal(store, change('d', { isStatic: true }))).toContain('spec.isStatic cannot change')
    expect(await refusal(store, change('d', { nodeName: 'n2' }))).toContain(
      'is not static: its node and holder cannot change',
    )
    await store.patch(Endpoint, { namespace: 'default', name: 's' }, { metadata: { labels: { app: 'web' } } })
  })

  it('binds what is free and unbinds what is detached, nothing else', async () => {
    await using fixture = await prepared()
    const { store } = fixture
    expect(
      await refusal(store, change('s', { nodeName: 'n1', holder: { containerId: 'c', interfaceName: 'eth0' } })),
    ).toContain('without the finalizer')
    expect(await refusal(store, () => bind(store, 's', 'n9', 'c'))).toBe('NotFound: node n9 does not exist')
    await bind(store, 's', 'n1', 'c1')
    await bind(store, 's', 'n1', 'c1')
    expect(await refusal(store, () => bind(store, 's', 'n2', 'c2'))).toBe(
      'Conflict: endpoint default/s is held by container c1, interface eth0, on node n1',
    )
    expect(await refusal(store, change('s', { nodeName: null, holder: null }))).toContain(
      'may still be attached to c1 on node n1',
    )
    await unbind(store, 's')
    await bind(store, 's', 'n2', 'c2')
    await store.delete(Endpoint, { namespace: 'default', name: 's' })
    await unbind(store, 's')
    await expect(store.get(Endpoint, { namespace: 'default', name: 's' })).rejects.toMatchObject({ code: 'NotFound' })
  })

  it('gives no holder to what is being deleted', async () => {
    await using fixture = await prepared()
    const { store } = fixture
    const reference = { namespace: 'default', name: 's' }
    await store.patch(Endpoint, reference, { metadata: { finalizers: [attachmentFinalizer] } })
    await store.delete(Endpoint, reference)
    expect(await refusal(store, () => bind(store, 's', 'n1', 'c1'))).toBe(
      'Conflict: endpoint default/s is being deleted and takes no holder',
    )
  })
})

describe('a node', () => {
  it('is refused with an implausible rate or a bond of itself', async () => {
    await using fixture = new StoreFixture()
    const node = (pods: Node['spec']['uplinks']['pods']) => (store: EmbeddedStore) =>
      createNode(store, 'n1', { uplinks: { pods } })
    expect(await refusal(fixture.store, node({ interface: 'eth0', rate: 10 }))).toContain('rate 10 is below 1M')
    expect(await refusal(fixture.store, node({ interface: 'bond0', bondMembers: ['bond0'] }))).toContain(
      'is the bond itself',
    )
    expect(await refusal(fixture.store, node({ interface: 'bond0', bondMembers: ['eth0', 'eth0'] }))).toContain(
      'is a member of bond0 already',
    )
    await node({ interface: 'bond0', bondMembers: ['eth0', 'eth1'], rate: '20G' })(fixture.store)
  })

  it('is not deleted while endpoints are on it', async () => {
    await using fixture = new StoreFixture()
    await createNode(fixture.store)
    await createNetwork(fixture.store)
    await createEndpoint(fixture.store, 'a')
    expect(await refusal(fixture.store, (store) => store.delete(Node, { name: 'n1' }))).toBe(
      'Conflict: node n1 is in use by 1 endpoint: default/a',
    )
  })
})

describe('a claim', () => {
  it('is named after what it claims, belongs to an endpoint that exists, and does not change', async () => {
    await using fixture = new StoreFixture()
    const { store } = fixture
    await createNetwork(store)
    const { metadata } = await createStatic(store, 'a')
    const endpoint = { namespace: 'default', name: 'a', uid: metadata.uid! }
    const spec = { l2Domain: 'pods-100', address: '10.30.0.20', networkName: 'blue', endpoint }
    const claim =
      (name: string, more: object = {}) =>
      () =>
        store.create(AddressClaim, { metadata: { name }, spec: { ...spec, ...more } })
    expect(await refusal(store, claim('pods-100.0a1e0015'))).toContain('expected pods-100.0a1e0014')
    expect(await refusal(store, claim('pods-100.0a1e0014', { endpoint: { ...endpoint, uid: 'other' } }))).toContain(
      'NotFound: endpoint default/a with uid other does not exist',
    )
    await claim('pods-100.0a1e0014')()
    const change = store.patch(AddressClaim, { name: 'pods-100.0a1e0014' }, { spec: { networkName: 'green' } })
    expect(await refusal(store, () => change)).toContain('cannot change')
  })

  it('cannot be deleted while its endpoint has what it claims', async () => {
    await using fixture = new StoreFixture()
    const { store } = fixture
    await createNetwork(store)
    const { metadata } = await createStatic(store, 'a')
    const endpoint = { namespace: 'default', name: 'a', uid: metadata.uid! }
    for (const address of ['10.30.0.20', '10.30.0.21']) {
      const name = `pods-100.0a1e00${Number(address.slice(8)).toString(16)}`
      await store.create(AddressClaim, {
        metadata: { name },
        spec: { l2Domain: 'pods-100', address, networkName: 'blue', endpoint },
      })
    }
    const allocation = {
      state: 'Allocated',
      generation: 1,
      addresses: [{ address: '10.30.0.20', prefixLength: 24 }],
      macAddress: '02:00:00:00:00:01',
      vlan: 100,
      bandwidthFloor: 0,
    }
    await store.patch(
      Endpoint,
      { namespace: 'default', name: 'a' },
      { status: { allocation } },
      { subresource: 'status' },
    )
    const remove = (name: string) => () => store.delete(AddressClaim, { name })
    expect(await refusal(store, remove('pods-100.0a1e0014'))).toBe(
      'Conflict: 10.30.0.20 is allocated to endpoint default/a',
    )
    await remove('pods-100.0a1e0015')()
    await store.delete(Endpoint, { namespace: 'default', name: 'a' })
    await remove('pods-100.0a1e0014')()
  })
})
