import { describe, expect, it } from 'vitest'
import { Network, Node, type KindDefinition } from '../../api/index.ts'
import { networkAdmission } from './network-admission.ts'
import { admitPrimarySubnets } from './primary-rules.ts'
import { createEndpoint, createNetwork, createNode, StoreFixture } from '../controllers/control-fixture.ts'

const onKubernetes = (): StoreFixture =>
  new StoreFixture((request, reader) => {
    networkAdmission(request, reader)
    admitPrimarySubnets(request, reader)
  })
const subnets = (cidr: string): { subnets: Network['spec']['subnets'] } => ({ subnets: [{ cidr, ranges: [] }] })

describe('networks of a Kubernetes cluster', () => {
  it('do not overlap, in whatever VLAN, unless one is for further interfaces', async () => {
    await using fixture = onKubernetes()
    const { store } = fixture
    await createNetwork(store, 'blue')
    await expect(createNetwork(store, 'green', { vlan: 200, ...subnets('10.30.0.0/16') })).rejects.toThrow(
      'subnet 10.30.0.0/16 of network green overlaps 10.30.0.0/24 of network blue',
    )
    await createNetwork(store, 'green', { vlan: 200, ...subnets('10.30.0.0/16'), isSecondary: true })
    await createNetwork(store, 'grey', { vlan: 300, ...subnets('10.31.0.0/24') })
    await createNetwork(store, 'disks', { vlan: 400, ...subnets('10.30.0.0/24'), plane: 'storage' })
    await expect(store.patch(Network, { name: 'green' }, { spec: { isSecondary: false } })).rejects.toThrow(/overlaps/)
  })

  it('share a subnet in one VLAN, by ranges', async () => {
    await using fixture = onKubernetes()
    await createNetwork(fixture.store, 'blue')
    const ranges = [{ start: '10.30.0.210', end: '10.30.0.220' }]
    await createNetwork(fixture.store, 'blue2', { subnets: [{ cidr: '10.30.0.0/24', ranges, gateway: '10.30.0.1' }] })
  })

  it('hand out no address that a node has', async () => {
    await using fixture = onKubernetes()
    const { store } = fixture
    await createNode(store)
    const agent = { heartbeat: '', version: '', linkRate: 0, mtu: 1500, carrier: true, problems: [], address: '10.30.0.11:7444' } // prettier-ignore
    await store.patch(Node, { name: 'n1' }, { status: { agent } }, { subresource: 'status' })
    await expect(createNetwork(store)).rejects.toThrow('network blue would hand out 10.30.0.11, the address of node n1')
    const ranges = [{ start: '10.30.0.100', end: '10.30.0.200' }]
    await createNetwork(store, 'blue', { subnets: [{ cidr: '10.30.0.0/24', ranges }] })
  })

  it('that are primary somewhere stay so, and the default is', async () => {
    await using fixture = onKubernetes()
    const { store } = fixture
    await createNode(store)
    await createNetwork(store, 'blue')
    await createEndpoint(store, 'a')
    const change = (spec: object): Promise<unknown> =>
      store.patch(Network as KindDefinition, { name: 'blue' }, { spec })
    await expect(change({ isSecondary: true })).rejects.toThrow('is the primary interface of endpoint default/a')
    await expect(createNetwork(store, 'red', { vlan: 9, ...subnets('10.9.0.0/24'), isDefault: true, isSecondary: true })).rejects.toThrow(/default/) // prettier-ignore
  })
})
